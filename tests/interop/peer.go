// Go's amqp091 side: as peer.c; what it reads is told in Go's types, which keep most letters.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"sort"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type message struct {
	Properties map[string]interface{} `json:"properties"`
	Size       int                    `json:"size"`
	Seed       uint32                 `json:"seed,omitempty"`
	CRC32      uint32                 `json:"crc32"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer.go:", err)
		os.Exit(1)
	}
}

func text(value interface{}) string {
	bytes, err := hex.DecodeString(value.(string))
	check(err)
	return string(bytes)
}

func number(value interface{}) int64 {
	n, err := strconv.ParseInt(value.(string), 10, 64)
	check(err)
	return n
}

func toGo(value interface{}) interface{} {
	pair := value.([]interface{})
	content := pair[1]
	switch pair[0].(string) {
	case "t":
		return content.(string) == "1"
	case "b":
		return int8(number(content))
	case "B":
		return byte(number(content))
	case "s":
		return int16(number(content))
	case "I":
		return int32(number(content))
	case "l":
		return number(content)
	case "f":
		bits, err := strconv.ParseUint(content.(string), 16, 32)
		check(err)
		return math.Float32frombits(uint32(bits))
	case "d":
		bits, err := strconv.ParseUint(content.(string), 16, 64)
		check(err)
		return math.Float64frombits(bits)
	case "D":
		var d amqp.Decimal
		var value uint32
		_, err := fmt.Sscanf(content.(string), "%d:%d", &d.Scale, &value)
		check(err)
		d.Value = int32(value)
		return d
	case "S":
		return text(content)
	case "x":
		return []byte(text(content))
	case "T":
		return time.Unix(number(content), 0)
	case "F":
		return toTable(content)
	case "A":
		array := []interface{}{}
		for _, item := range content.([]interface{}) {
			array = append(array, toGo(item))
		}
		return array
	}
	return nil
}

func toTable(value interface{}) amqp.Table {
	table := amqp.Table{}
	for _, item := range value.([]interface{}) {
		table[text(item.([]interface{})[0])] = toGo(item.([]interface{})[1])
	}
	return table
}

func pair(letter string, content interface{}) []interface{} { return []interface{}{letter, content} }

func fromGo(value interface{}) []interface{} {
	switch v := value.(type) {
	case bool:
		if v {
			return pair("t", "1")
		}
		return pair("t", "0")
	case int8:
		return pair("b", fmt.Sprint(v))
	case byte:
		return pair("B", fmt.Sprint(v))
	case int16:
		return pair("s", fmt.Sprint(v))
	case int32:
		return pair("I", fmt.Sprint(v))
	case int64:
		return pair("l", fmt.Sprint(v))
	case float32:
		return pair("f", fmt.Sprintf("%08x", math.Float32bits(v)))
	case float64:
		return pair("d", fmt.Sprintf("%016x", math.Float64bits(v)))
	case amqp.Decimal:
		return pair("D", fmt.Sprintf("%d:%d", v.Scale, uint32(v.Value)))
	case string:
		return pair("S", hex.EncodeToString([]byte(v)))
	case []byte:
		return pair("x", hex.EncodeToString(v))
	case time.Time:
		return pair("T", fmt.Sprint(v.Unix()))
	case amqp.Table:
		return pair("F", fromTable(v))
	case []interface{}:
		array := []interface{}{}
		for _, item := range v {
			array = append(array, fromGo(item))
		}
		return pair("A", array)
	}
	return pair("V", "void")
}

// Go's maps forget the order: names are sorted.
func fromTable(table amqp.Table) []interface{} {
	names := []string{}
	for name := range table {
		names = append(names, name)
	}
	sort.Strings(names)
	result := []interface{}{}
	for _, name := range names {
		result = append(result, []interface{}{hex.EncodeToString([]byte(name)), fromGo(table[name])})
	}
	return result
}

func makeBody(size int, seed uint32) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(int(seed) + i*131 + (i>>8)*17)
	}
	return body
}

func publishing(m message) amqp.Publishing {
	p := amqp.Publishing{Body: makeBody(m.Size, m.Seed)}
	for name, value := range m.Properties {
		switch name {
		case "content_type":
			p.ContentType = text(value)
		case "content_encoding":
			p.ContentEncoding = text(value)
		case "correlation_id":
			p.CorrelationId = text(value)
		case "reply_to":
			p.ReplyTo = text(value)
		case "expiration":
			p.Expiration = text(value)
		case "message_id":
			p.MessageId = text(value)
		case "type":
			p.Type = text(value)
		case "user_id":
			p.UserId = text(value)
		case "app_id":
			p.AppId = text(value)
		case "delivery_mode":
			p.DeliveryMode = uint8(number(value))
		case "priority":
			p.Priority = uint8(number(value))
		case "timestamp":
			p.Timestamp = time.Unix(number(value), 0)
		case "headers":
			p.Headers = toTable(value)
		default:
			check(fmt.Errorf("no property %s", name))
		}
	}
	return p
}

func describe(d amqp.Delivery) message {
	p := map[string]interface{}{}
	texts := map[string]string{"content_type": d.ContentType, "content_encoding": d.ContentEncoding, "correlation_id": d.CorrelationId,
		"reply_to": d.ReplyTo, "expiration": d.Expiration, "message_id": d.MessageId, "type": d.Type, "user_id": d.UserId,
		"app_id": d.AppId}
	for name, value := range texts {
		if value != "" {
			p[name] = hex.EncodeToString([]byte(value))
		}
	}
	if d.DeliveryMode != 0 {
		p["delivery_mode"] = fmt.Sprint(d.DeliveryMode)
	}
	if d.Priority != 0 {
		p["priority"] = fmt.Sprint(d.Priority)
	}
	if !d.Timestamp.IsZero() {
		p["timestamp"] = fmt.Sprint(d.Timestamp.Unix())
	}
	if len(d.Headers) > 0 {
		p["headers"] = fromTable(d.Headers)
	}
	return message{Properties: p, Size: len(d.Body), CRC32: crc32.ChecksumIEEE(d.Body)}
}

// Without confirms: in amqp091 1.5 publishing and their arrival can wait for each other for ever. What a channel is asked after its
// publishes is answered after them, so a declare does as well.
func publish(channel *amqp.Channel, queue string, lines *bufio.Scanner) {
	for lines.Scan() {
		var m message
		check(json.Unmarshal(lines.Bytes(), &m))
		check(channel.Publish("", queue, true, false, publishing(m)))
	}
	_, err := channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	check(err)
}

func consume(channel *amqp.Channel, queue string, count int) {
	check(channel.Qos(50, 0, false))
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	check(err)
	for ; count > 0; count-- {
		select {
		case d, ok := <-deliveries:
			if !ok {
				check(fmt.Errorf("the channel was closed"))
			}
			line, err := json.Marshal(describe(d))
			check(err)
			fmt.Println(string(line))
			check(d.Ack(false))
		case <-time.After(30 * time.Second):
			check(fmt.Errorf("nothing came for 30 s"))
		}
	}
}

func main() {
	connection, err := amqp.Dial(os.Getenv("AMQP_URL"))
	check(err)
	channel, err := connection.Channel()
	check(err)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<20)
	switch os.Args[1] {
	case "publish":
		publish(channel, os.Args[2], lines)
	case "declare":
		lines.Scan()
		var arguments interface{}
		check(json.Unmarshal(lines.Bytes(), &arguments))
		_, err := channel.QueueDeclare(os.Args[2], true, false, false, false, toTable(arguments))
		check(err)
	default:
		count, err := strconv.Atoi(os.Args[3])
		check(err)
		consume(channel, os.Args[2], count)
	}
	check(connection.Close())
}
