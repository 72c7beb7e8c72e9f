/*
 * A life of a connection in Promela: handshake with a second attempt, two channels, publishes with confirms on one, a consumer and its
 * cancel on the other, goodbyes of both sides, a fatal error, a link that is cut at any point (what was written may have arrived or
 * not), deadlines that pass at any moment. tests/model/run verifies it exhaustively; the simulator shows that the library takes no
 * step that is not here, and all that are (model.py): a change of state is written session_go(FROM, TO), channel_go(c, FROM, TO),
 * stage_go(FROM, TO), with the names of lib/session/session.h, lib/session/internal.h and lib/client/connection.h.
 */
#ifndef PUBLISHES
#define PUBLISHES 3
#endif
#ifndef DELIVERIES
#define DELIVERIES 2
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef CHANNELS
#define CHANNELS 3 /* a bit for each: PUB, SUB */
#endif
#ifndef WIRE
#define WIRE 1 /* frames under way in each direction */
#endif
#define PUB        1 /* the channel that publishes */
#define SUB        2 /* the one that consumes */

/* ---------------------------------------------------------------- states, by the library's numbers */

#define IDLE       0
#define WAIT_START 1
#define STARTING   2
#define WAIT_TUNE  3
#define SECURING   4
#define TUNING     5
#define WAIT_OPEN  6
#define OPEN       7
#define CLOSING    8
#define FAILED     9
#define LEAVING    10
#define ENDED      11

#define CH_OPENING 0
#define CH_OPEN    1
#define CH_LEAVING 2
#define CH_CLOSING 3
#define CH_GONE    4

#define ST_DIALING   0
#define ST_OPEN      1
#define ST_CLOSING   2
#define ST_ENDING    3
#define ST_FINISHING 4
#define ST_ENDED     5

mtype = { HEADER, START, START_OK, SECURE, SECURE_OK, TUNE, TUNE_OK, OPEN_OK, CLOSE, CLOSE_OK, OPEN_CH, OPEN_CH_OK, CLOSE_CH,
          CLOSE_CH_OK, CONSUME, CONSUME_OK, CANCEL, CANCEL_OK, DELIVER, ACK, PUBLISH, CONFIRM, NONSENSE }

chan out = [12] of { mtype, byte, byte }; /* the client's queue: not written yet */
chan up = [WIRE] of { mtype, byte, byte };   /* written: on the way */
chan down = [WIRE] of { mtype, byte, byte }; /* the broker's */
bool link;      /* there is one */
bool cut;       /* it is broken; the client has not noticed */

byte session = IDLE;
byte stage = ST_DIALING;
byte ch[3] = CH_GONE;    /* wire states */
bool used[3];            /* the application has opened it */
bool known[3];           /* channel.open is in the queue or further */
bool held_close[3];      /* our close waits behind what is held */
byte attempts;

/* what the application was told */
bool told_open, told_open_error, told_close, freed;
bool ch_told_open[3], ch_told_end[3];
byte accepted, held_publishes, written; /* publishes: taken, waiting for open-ok, of which a byte has left */
byte outcome[PUBLISHES];                /* 0 none 1 confirmed 2 unknown 3 not sent */
byte confirmed;                         /* told up to here */
bool consuming, consume_told, cancelled, cancel_said, cancel_told, consumer_ended;
byte delivered;                         /* tags told */
byte acked;
bool close_said;                        /* connection.close is in the queue */

/* the broker's books */
byte b_state;      /* 0 wait header 1 wait start-ok 2 wait secure-ok 3 wait tune-ok 4 running 5 closing 6 closed */
bool b_open[3], b_closing[3];
byte b_received, b_confirmed, b_sent, b_acked;
bool b_consumer, b_client_closed;

#define session_go(from, to) assert(session == from); session = to
#define channel_go(c, from, to) assert(ch[c] == from); ch[c] = to
#define stage_go(from, to) assert(stage == from); stage = to

/* ---------------------------------------------------------------- the client: what it sends */

/* Nothing behind a goodbye; on channels only while the connection is open and they are. */
#define put(type, c, n) \
    assert(!close_said || type == CLOSE_OK); \
    assert(c == 0 || (session == OPEN && ch[c] != CH_GONE && (ch[c] != CH_CLOSING || type == CLOSE_CH_OK))); \
    out!type(c, n)

inline drop_link() {
    d_step {
        do :: nempty(out) -> out?_, _, _ :: else -> break od;
        do :: nempty(up) -> up?_, _, _ :: else -> break od;
        do :: nempty(down) -> down?_, _, _ :: else -> break od;
        link = false; cut = false; close_said = false;
        b_state = 0; b_open[1] = false; b_open[2] = false; b_closing[1] = false; b_closing[2] = false; b_consumer = false;
        b_client_closed = false
    }
}

/* What was held until open-ok leaves. */
inline release(c) {
    if
    :: used[c] && ch[c] != CH_GONE && !known[c] ->
        known[c] = true;
        out!OPEN_CH(c, 0);
        if
        :: c == PUB -> do :: held_publishes > 0 -> out!PUBLISH(PUB, accepted - held_publishes); held_publishes-- :: else -> break od
        :: c == SUB && consuming -> out!CONSUME(SUB, 0)
        :: else
        fi;
        if
        :: held_close[c] -> channel_go(c, CH_LEAVING, CH_CLOSING); out!CLOSE_CH(c, 0); held_close[c] = false
        :: else
        fi
    :: else
    fi
}

/* ---------------------------------------------------------------- the client: what it tells */

#define may_tell assert(!freed && !told_close && !told_open_error && stage < ST_FINISHING)

/* Its publishes, its consumer, itself: in this order, each once. */
inline tell_channel_end(c) {
    if
    :: c == PUB && used[c] && !ch_told_end[c] && !freed ->
        n = confirmed;
        do
        :: n < accepted ->
            assert(outcome[n] == 0);
            outcome[n] = (n < written -> 2 : 3);
            assert(outcome[n] != 3 || n >= b_received);
            n++
        :: else -> break
        od;
        confirmed = accepted
    :: c == SUB && used[c] && !ch_told_end[c] && !freed ->
        if
        :: consuming && !consumer_ended -> consumer_ended = true
        :: else
        fi
    :: else
    fi;
    if
    :: used[c] && !ch_told_end[c] && !freed ->
        may_tell;
        ch_told_end[c] = true
    :: else
    fi
}

inline channel_gone(c) {
    if
    :: ch[c] == CH_OPENING -> channel_go(c, CH_OPENING, CH_GONE)
    :: ch[c] == CH_OPEN -> channel_go(c, CH_OPEN, CH_GONE)
    :: ch[c] == CH_LEAVING -> channel_go(c, CH_LEAVING, CH_GONE)
    :: ch[c] == CH_CLOSING -> channel_go(c, CH_CLOSING, CH_GONE)
    :: else
    fi
}

inline end_session() {
    if
    :: session == IDLE -> session_go(IDLE, ENDED)
    :: session == WAIT_START -> session_go(WAIT_START, ENDED)
    :: session == STARTING -> session_go(STARTING, ENDED)
    :: session == WAIT_TUNE -> session_go(WAIT_TUNE, ENDED)
    :: session == SECURING -> session_go(SECURING, ENDED)
    :: session == TUNING -> session_go(TUNING, ENDED)
    :: session == WAIT_OPEN -> session_go(WAIT_OPEN, ENDED)
    :: session == OPEN -> session_go(OPEN, ENDED)
    :: session == CLOSING -> session_go(CLOSING, ENDED)
    :: session == FAILED -> session_go(FAILED, ENDED)
    :: session == LEAVING -> session_go(LEAVING, ENDED)
    :: else
    fi
}

/* An attempt that failed is forgotten, with its link. */
inline rest() {
    if
    :: session == IDLE -> session_go(IDLE, IDLE)
    :: session == WAIT_START -> session_go(WAIT_START, IDLE)
    :: session == STARTING -> session_go(STARTING, IDLE)
    :: session == WAIT_TUNE -> session_go(WAIT_TUNE, IDLE)
    :: session == SECURING -> session_go(SECURING, IDLE)
    :: session == WAIT_OPEN -> session_go(WAIT_OPEN, IDLE)
    :: session == FAILED -> session_go(FAILED, IDLE)
    :: session == LEAVING -> session_go(LEAVING, IDLE)
    :: session == ENDED -> session_go(ENDED, IDLE)
    :: else -> assert(false) /* a link that was open is not tried again */
    fi
}

/* The end: everybody is told, in order; then the handles close, and on_close or on_open_error is the last word. */
inline end_all() {
    if
    :: stage == ST_DIALING -> stage_go(ST_DIALING, ST_ENDING)
    :: stage == ST_OPEN -> stage_go(ST_OPEN, ST_ENDING)
    :: stage == ST_CLOSING -> stage_go(ST_CLOSING, ST_ENDING)
    fi;
    end_session();
    tell_channel_end(PUB);
    tell_channel_end(SUB);
    channel_gone(PUB);
    channel_gone(SUB);
    drop_link();
    stage_go(ST_ENDING, ST_FINISHING)
}

inline free_all() {
    freed = true;
    if
    :: stage == ST_DIALING -> stage_go(ST_DIALING, ST_FINISHING)
    :: stage == ST_OPEN -> stage_go(ST_OPEN, ST_FINISHING)
    :: stage == ST_CLOSING -> stage_go(ST_CLOSING, ST_FINISHING)
    :: stage == ST_ENDING -> stage_go(ST_ENDING, ST_FINISHING)
    fi;
    channel_gone(PUB);
    channel_gone(SUB);
    drop_link()
}

/* Where a link ends: before it was open the next attempt follows, if there is one. */
inline link_ended() {
    if
    :: stage == ST_DIALING && attempts < ATTEMPTS ->
        if
        :: session != IDLE && session != ENDED -> end_session() :: true
        fi;
        drop_link();
        rest()
    :: else -> end_all()
    fi
}

/* The peer broke a rule: it is told so, if there is memory for that and somebody to tell. */
inline fail() {
    if
    :: session == WAIT_START -> session_go(WAIT_START, ENDED)
    :: session == CLOSING -> session_go(CLOSING, ENDED)
    :: session == STARTING -> put(CLOSE, 0, 0); close_said = true; session_go(STARTING, FAILED)
    :: session == WAIT_TUNE -> put(CLOSE, 0, 0); close_said = true; session_go(WAIT_TUNE, FAILED)
    :: session == SECURING -> put(CLOSE, 0, 0); close_said = true; session_go(SECURING, FAILED)
    :: session == WAIT_OPEN -> put(CLOSE, 0, 0); close_said = true; session_go(WAIT_OPEN, FAILED)
    :: session == OPEN -> put(CLOSE, 0, 0); close_said = true; session_go(OPEN, FAILED)
    :: else
    fi
}

/* connection.close came. */
inline close_received() {
    if
    :: session == ENDED || session == LEAVING || session == IDLE
    :: else ->
        out!CLOSE_OK(0, 0);
        if
        :: session == WAIT_START -> session_go(WAIT_START, LEAVING)
        :: session == STARTING -> session_go(STARTING, LEAVING)
        :: session == WAIT_TUNE -> session_go(WAIT_TUNE, LEAVING)
        :: session == SECURING -> session_go(SECURING, LEAVING)
        :: session == WAIT_OPEN -> session_go(WAIT_OPEN, LEAVING)
        :: session == OPEN -> session_go(OPEN, LEAVING)
        :: session == FAILED -> session_go(FAILED, LEAVING)
        :: session == CLOSING
        fi
    fi
}

/* A method of a channel; after a goodbye it is discarded. */
inline channel_method(type, c, k) {
    if
    :: session != OPEN
    :: session == OPEN && ch[c] == CH_GONE -> fail()
    :: session == OPEN && ch[c] != CH_GONE ->
        if
        :: type == OPEN_CH_OK && ch[c] == CH_OPENING -> channel_go(c, CH_OPENING, CH_OPEN); may_tell; assert(!ch_told_open[c]); ch_told_open[c] = true
        :: type == CLOSE_CH ->
            out!CLOSE_CH_OK(c, 0);
            tell_channel_end(c);
            if
            :: ch[c] != CH_CLOSING -> channel_gone(c)
            :: else /* our own close-ok is still to come */
            fi
        :: type == CLOSE_CH_OK && ch[c] == CH_CLOSING -> tell_channel_end(c); channel_gone(c)
        :: type == CONFIRM && ch[c] == CH_OPEN ->
            do
            :: confirmed < k -> may_tell; assert(outcome[confirmed] == 0 && confirmed < b_received); outcome[confirmed] = 1; confirmed++
            :: else -> break
            od
        :: type == CONSUME_OK && ch[c] == CH_OPEN -> assert(!consume_told && consuming); consume_told = true;
            if
            :: cancelled -> put(CANCEL, SUB, 0); cancel_said = true /* it waited for this (RabbitMQ 3.10) */
            :: else
            fi
        :: type == CANCEL_OK && ch[c] == CH_OPEN -> assert(cancelled && !cancel_told); cancel_told = true; assert(!consumer_ended); consumer_ended = true
        :: type == DELIVER && ch[c] == CH_OPEN ->
            if
            :: cancelled -> put(ACK, SUB, 100 + k) /* given back: a reject */
            :: else -> may_tell; assert(!consumer_ended && k == delivered + 1); delivered = k
            fi
        :: else -> if :: ch[c] == CH_LEAVING || ch[c] == CH_CLOSING :: else -> fail() fi
        fi
    fi
}

inline received(type, c, k) {
    if
    :: type == NONSENSE -> fail()
    :: type == CLOSE -> close_received()
    :: type == CLOSE_OK ->
        if
        :: session == CLOSING -> session_go(CLOSING, ENDED)
        :: session == FAILED -> session_go(FAILED, ENDED)
        :: else -> fail()
        fi
    :: type == START -> if :: session == WAIT_START -> session_go(WAIT_START, STARTING) :: else -> fail() fi
    :: type == SECURE -> if :: session == WAIT_TUNE -> session_go(WAIT_TUNE, SECURING) :: else -> fail() fi
    :: type == TUNE -> if :: session == WAIT_TUNE -> session_go(WAIT_TUNE, TUNING) :: else -> fail() fi
    :: type == OPEN_OK ->
        if
        :: session == WAIT_OPEN ->
            session_go(WAIT_OPEN, OPEN);
            stage_go(ST_DIALING, ST_OPEN);
            may_tell; assert(!told_open);
            told_open = true;
            release(PUB); release(SUB)
        :: else -> fail()
        fi
    :: else -> channel_method(type, c, k)
    fi
}

/* ---------------------------------------------------------------- the client: what the application does */

#define living (!freed && stage < ST_ENDING)
#define takes(c) (living && stage <= ST_OPEN && used[c] && !held_close[c] && (ch[c] == CH_OPENING || ch[c] == CH_OPEN) && session <= OPEN)

inline close_channel(c) {
    if
    :: ch[c] == CH_OPENING && !known[c] -> channel_go(c, CH_OPENING, CH_LEAVING); held_close[c] = true
    :: ch[c] == CH_OPENING && known[c] -> put(CLOSE_CH, c, 0); channel_go(c, CH_OPENING, CH_CLOSING)
    :: ch[c] == CH_OPEN -> put(CLOSE_CH, c, 0); channel_go(c, CH_OPEN, CH_CLOSING)
    :: ch[c] == CH_OPEN -> channel_go(c, CH_OPEN, CH_LEAVING); held_close[c] = true /* something is held by a block or a stopped flow */
    :: else
    fi
}

active proctype Client() {
    byte n, c, k;
    mtype t;
    do
    :: stage == ST_FINISHING -> atomic {
        stage_go(ST_FINISHING, ST_ENDED);
        if
        :: freed
        :: !freed && told_open -> assert(!told_close && !told_open_error); told_close = true
        :: !freed && !told_open -> assert(!told_close && !told_open_error); told_open_error = true
        fi;
        break
    }
    /* the application */
    :: atomic { living && stage <= ST_OPEN && !used[PUB] && (CHANNELS & PUB) && session <= OPEN -> used[PUB] = true; ch[PUB] = CH_OPENING;
        if :: session == OPEN -> known[PUB] = true; put(OPEN_CH, PUB, 0) :: else fi }
    :: atomic { living && stage <= ST_OPEN && !used[SUB] && (CHANNELS & SUB) && session <= OPEN -> used[SUB] = true; ch[SUB] = CH_OPENING;
        if :: session == OPEN -> known[SUB] = true; put(OPEN_CH, SUB, 0) :: else fi }
    :: atomic { takes(PUB) && accepted < PUBLISHES -> accepted++;
        if :: known[PUB] -> put(PUBLISH, PUB, accepted - 1) :: else -> held_publishes++ fi }
    :: atomic { takes(SUB) && !consuming -> consuming = true;
        if :: known[SUB] -> put(CONSUME, SUB, 0) :: else fi }
    :: atomic { takes(SUB) && consuming && !cancelled && !consumer_ended -> cancelled = true;
        if :: consume_told -> put(CANCEL, SUB, 0); cancel_said = true :: else fi }
    :: atomic { takes(SUB) && ch[SUB] == CH_OPEN && acked < delivered -> acked++; put(ACK, SUB, acked) }
    :: atomic { takes(PUB) -> close_channel(PUB) }
    :: atomic { takes(SUB) -> close_channel(SUB) }
    :: atomic { living && stage == ST_OPEN && session == OPEN -> stage_go(ST_OPEN, ST_CLOSING) }
    :: atomic { living && stage == ST_DIALING -> end_all() } /* close, abort, or a deadline before it is open */
    :: atomic { living && stage >= ST_OPEN -> end_all() }    /* abort; or a deadline: heartbeat, stall, close, block */
    :: atomic { living -> free_all() }
    /* goodbye in order: publishes have their outcomes, channels are closed, then the connection */
    :: atomic { living && stage == ST_CLOSING && session == OPEN && used[PUB] && confirmed == accepted && !held_close[PUB] &&
        (ch[PUB] == CH_OPENING || ch[PUB] == CH_OPEN) -> close_channel(PUB) }
    :: atomic { living && stage == ST_CLOSING && session == OPEN && used[SUB] && !held_close[SUB] &&
        (ch[SUB] == CH_OPENING || ch[SUB] == CH_OPEN) -> close_channel(SUB) }
    :: atomic { living && stage == ST_CLOSING && session == OPEN && ch[PUB] == CH_GONE && ch[SUB] == CH_GONE ->
        put(CLOSE, 0, 0); close_said = true; session_go(OPEN, CLOSING) }
    /* what was held may leave; the channel's close goes behind it */
    :: atomic { session == OPEN && ch[PUB] == CH_LEAVING && known[PUB] && held_close[PUB] ->
        put(CLOSE_CH, PUB, 0); channel_go(PUB, CH_LEAVING, CH_CLOSING); held_close[PUB] = false }
    :: atomic { session == OPEN && ch[SUB] == CH_LEAVING && known[SUB] && held_close[SUB] ->
        put(CLOSE_CH, SUB, 0); channel_go(SUB, CH_LEAVING, CH_CLOSING); held_close[SUB] = false }
    /* dialing */
    :: atomic { stage == ST_DIALING && session == IDLE && !link && attempts < ATTEMPTS && !freed -> attempts++; link = true;
        session_go(IDLE, IDLE); session_go(IDLE, WAIT_START); put(HEADER, 0, 0) }
    :: atomic { stage == ST_DIALING && session == IDLE && !link && attempts < ATTEMPTS && !freed -> attempts++;
        if :: attempts == ATTEMPTS -> end_all() :: else fi } /* no link came of it */
    :: atomic { session == STARTING && !freed -> put(START_OK, 0, 0); session_go(STARTING, WAIT_TUNE) }
    :: atomic { session == SECURING && !freed -> put(SECURE_OK, 0, 0); session_go(SECURING, WAIT_TUNE) }
    /* connection.tune is answered at once, before anything else is looked at */
    :: atomic { session == TUNING && !freed -> put(TUNE_OK, 0, 0); session_go(TUNING, WAIT_OPEN) }
    /* the link */
    :: atomic { link && !cut && nfull(up) && session != ENDED && out?[t, c, k] -> out?t, c, k; up!t, c, k;
        if :: t == PUBLISH -> written++ :: else fi;
        if :: t == CLOSE_OK && session == LEAVING -> session_go(LEAVING, ENDED) :: else fi }
    :: atomic { link && session != ENDED && session != TUNING && down?[t, c, k] -> down?t, c, k; received(t, c, k) }
    :: atomic { link && cut && session < ENDED && session != TUNING && stage < ST_ENDING && !freed -> link_ended() }
    :: atomic { link && session == ENDED && stage < ST_ENDING && !freed -> link_ended() }
    :: atomic { link && stage == ST_DIALING && session != TUNING && attempts < ATTEMPTS && !freed -> drop_link(); rest() } /* stack_timeout */
    :: atomic { link && (session == FAILED || session == LEAVING) -> end_session() } /* it lingered long enough */
    od
}

/* ---------------------------------------------------------------- the broker: anything that a broker may do */

inline b_channel(t, c, k) {
    if
    :: b_closing[c] ->
        if
        :: t == CLOSE_CH -> down!CLOSE_CH_OK(c, 0)
        :: t == CLOSE_CH_OK -> b_closing[c] = false; b_open[c] = false
        :: else
        fi
    :: !b_closing[c] ->
        if
        :: t == OPEN_CH -> assert(!b_open[c]); b_open[c] = true; down!OPEN_CH_OK(c, 0)
        :: else ->
            assert(b_open[c]); /* nothing behind a channel's goodbye */
            if
            :: t == CLOSE_CH -> b_open[c] = false; b_consumer = (c == SUB -> false : b_consumer); down!CLOSE_CH_OK(c, 0)
            :: t == PUBLISH -> assert(k == b_received && outcome[k] != 3); b_received++
            :: t == CONSUME -> b_consumer = true; down!CONSUME_OK(c, 0)
            :: t == CANCEL -> b_consumer = false; down!CANCEL_OK(c, 0)
            :: t == ACK && k < 100 -> assert(k == b_acked + 1 && k <= b_sent && k <= delivered); b_acked = k
            :: t == ACK && k >= 100 -> assert(k - 100 <= b_sent)
            :: else -> assert(false)
            fi
        fi
    fi
}

active proctype Broker() {
    byte c, k;
    mtype t;
end: do
    :: atomic { link && !cut && b_state < 6 && nfull(down) && up?[t, c, k] -> up?t, c, k;
        assert(!b_client_closed || t == CLOSE_OK); /* nothing behind a goodbye, nor a second one */
        if
        :: t == CLOSE -> b_client_closed = true; down!CLOSE_OK(0, 0); b_state = (b_state == 5 -> 5 : 6)
        :: t == CLOSE_OK -> b_state = 6
        :: b_state == 5 && t != CLOSE && t != CLOSE_OK
        :: b_state == 0 && t == HEADER -> b_state = 1; down!START(0, 0)
        :: b_state == 1 && t == START_OK -> b_state = 2; down!SECURE(0, 0)
        :: b_state == 1 && t == START_OK -> b_state = 3; down!TUNE(0, 0)
        :: b_state == 2 && t == SECURE_OK -> b_state = 3; down!TUNE(0, 0)
        :: b_state == 3 && t == TUNE_OK -> b_state = 4; down!OPEN_OK(0, 0)
        :: b_state == 4 && c > 0 -> b_channel(t, c, k)
        :: else -> assert(b_state == 5) /* nothing out of turn */
        fi }
    :: atomic { link && !cut && b_state == 4 && nfull(down) && b_open[PUB] && !b_closing[PUB] && b_confirmed < b_received ->
        if
        :: b_confirmed++
        :: b_confirmed = b_received
        fi;
        down!CONFIRM(PUB, b_confirmed) }
    :: atomic { link && !cut && b_state == 4 && nfull(down) && b_consumer && b_open[SUB] && !b_closing[SUB] && b_sent < DELIVERIES ->
        b_sent++; down!DELIVER(SUB, b_sent) }
    :: atomic { link && !cut && b_state == 4 && nfull(down) && b_open[PUB] && !b_closing[PUB] -> b_closing[PUB] = true; down!CLOSE_CH(PUB, 0) }
    :: atomic { link && !cut && b_state == 4 && nfull(down) && b_open[SUB] && !b_closing[SUB] -> b_closing[SUB] = true; b_consumer = false; down!CLOSE_CH(SUB, 0) }
    :: atomic { link && !cut && b_state >= 1 && b_state <= 4 && nfull(down) -> b_state = 5; down!CLOSE(0, 0) }
    :: atomic { link && !cut && b_state < 6 && nfull(down) && !b_client_closed -> b_state = 6; down!NONSENSE(0, 0) }
    :: atomic { link && !cut -> cut = true } /* at any point; also its way of hanging up */
    od
}

/* ---------------------------------------------------------------- what must hold, beside the assertions above */

#define settled(i) (outcome[i] != 0)
ltl each_publish_has_an_outcome_or_was_freed { [] (accepted > 0 -> <> (settled(0) || freed)) }
ltl the_last_publish_too { [] (accepted == PUBLISHES -> <> (settled(PUBLISHES - 1) || freed)) }
ltl it_always_ends { <> (stage == ST_ENDED) }
ltl open_or_open_error { [] !(told_open && told_open_error) }
ltl who_is_not_freed_hears_the_end { [] (stage == ST_ENDED -> (freed || told_close || told_open_error)) }
ltl an_open_connection_is_closed { [] (told_open -> <> (told_close || freed)) }
ltl a_channel_that_was_opened_ends { [] (used[PUB] -> <> (ch_told_end[PUB] || freed)) }
ltl a_consumer_ends { [] (consuming -> <> (consumer_ended || freed)) }
ltl a_cancel_is_said { [] ((cancelled && consume_told) -> cancel_said) }
ltl outcomes_stay { [] (outcome[0] == 1 -> [] (outcome[0] == 1)) }
ltl the_end_is_the_end { [] (stage == ST_ENDED -> [] (stage == ST_ENDED)) }
ltl not_sent_never_arrives { [] (outcome[0] == 3 -> [] (b_received == 0)) }
