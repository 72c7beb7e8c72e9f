/*
 * The producers of lago-perf: publish as fast as the window of confirms, the rate and the connection allow. Each turn of the loop
 * gives each of them a batch; when none may publish they rest until a confirm, a drained connection or the rate wakes them.
 */
#include "perf.h"
#include <stdlib.h>
#include <string.h>

#define BATCH      128         /* publishes in a row: long enough for full writes, short enough for answers to be read in time */
#define COPIED_MAX 4096        /* larger bodies are lent to lago, not copied */
#define SECOND_NS  1000000000u /* also how much a producer that was held up may make up for */

typedef struct producer {
    lago_channel_t *ch;
    lago_publisher_t *publisher;
    uint64_t sent, settled;
    uint64_t since, paced; /* by the rate: this many since then */
    bool is_full;          /* the connection has enough to write */
} producer_t;

typedef struct producer_link {
    program_link_t link;
    producer_t *producers;
} producer_link_t;

/* A body that lago may still be reading. */
typedef struct loan {
    struct loan *next;
    char octets[];
} loan_t;

static perf_t *perf;
static producer_link_t *links;
static producer_t *producers;
static size_t producer_count;
static char *copied;
static loan_t *spare_loans;
static uv_idle_t busy;
static uv_timer_t due;
static bool has_handles;

static void on_busy(uv_idle_t *idle);

static void wake(void) {
    if (!perf->is_over && !uv_is_active((uv_handle_t *)&busy)) uv_idle_start(&busy, on_busy);
}

/* ---------------------------------------------------------------- what became of it */

static bool is_finished(const producer_t *producer) {
    uint64_t wanted = (uint64_t)perf->settings.publishes;
    return wanted > 0 && producer->sent == wanted && (perf->settings.window < 0 || producer->settled == wanted);
}

static void on_outcome(lago_channel_t *ch, const lago_publish_result_t *result, void *data) {
    producer_t *producer = lago_channel_data(ch);
    uint64_t window = (uint64_t)perf->settings.window;
    if (perf->is_over || result->outcome == LAGO_PUBLISH_UNKNOWN || result->outcome == LAGO_PUBLISH_NOT_SENT) return;
    if (producer->sent - producer->settled++ >= window) wake();
    switch (result->outcome) {
    case LAGO_PUBLISH_CONFIRMED: perf->now.confirmed++; break;
    case LAGO_PUBLISH_RETURNED: perf->now.returned++; break;
    default: perf->now.nacked++; break;
    }
    latency_add(&perf->now.confirm_latency, (uintptr_t)uv_hrtime() - (uintptr_t)data);
    if (is_finished(producer)) perf_producer_is_done(perf);
}

/* Without confirms nothing else tells of it. */
static void on_return(lago_channel_t *ch, const lago_return_t *returned, void *data) {
    (void)ch, (void)returned, (void)data;
    if (perf->settings.window < 0 && !perf->is_over) perf->now.returned++;
}

static void on_synced(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    if (!reason && !perf->is_over) perf_producer_is_done(perf);
}

/* Without confirms: an answer, to whatever question, says that the broker has read all that was published before. */
static void await_reading(producer_t *producer) {
    lago_basic_qos_t qos = { .prefetch_count = 1 };
    program_took(&perf->program, "cannot publish", lago_basic_qos(producer->ch, &qos, on_synced, NULL));
}

/* ---------------------------------------------------------------- bodies */

static void on_loan_returned(void *data) {
    loan_t *loan = data;
    loan->next = spare_loans;
    spare_loans = loan;
}

static loan_t *take_loan(void) {
    size_t size = (size_t)perf->settings.size;
    loan_t *loan = spare_loans;
    if (loan) {
        spare_loans = loan->next;
        return loan;
    }
    loan = malloc(sizeof *loan + size);
    if (loan) memset(loan->octets, 'x', size);
    return loan;
}

static void stamp(char *body, uint64_t now) {
    memcpy(body, &perf->run, sizeof perf->run);
    memcpy(body + sizeof perf->run, &now, sizeof now);
}

/* ---------------------------------------------------------------- publishing */

/* The user's pointer is the time of publishing: where pointers are short, its low bits, which do for 4 seconds. */
static int64_t publish(producer_t *producer, uint64_t now) {
    size_t size = (size_t)perf->settings.size;
    void *since = (void *)(uintptr_t)now;
    if (copied) {
        stamp(copied, now);
        return lago_publisher_publish(producer->publisher, (lago_bytes_t){ copied, size }, since);
    }
    loan_t *loan = take_loan();
    if (!loan) return LAGO_ENOMEM;
    stamp(loan->octets, now);
    lago_publisher_message_t message = { .body = { loan->octets, size }, .release_body = on_loan_returned, .release_data = loan };
    int64_t rc = lago_publisher_publish_message(producer->publisher, &message, since);
    if (rc < 0) on_loan_returned(loan);
    return rc;
}

/* How many messages the rate allows by now. */
static uint64_t paced_room(producer_t *producer, uint64_t now) {
    double rate = perf->settings.rate;
    if (rate <= 0) return BATCH;
    double room = (double)(now - producer->since) / SECOND_NS * rate + 1 - (double)producer->paced;
    if (room > rate + 1) { /* it was held up: do not make up for all of that */
        producer->since = now - SECOND_NS;
        producer->paced = 0;
        room = rate;
    }
    return room < 1 ? 0 : room < BATCH ? (uint64_t)room : BATCH;
}

static uint64_t room_of(producer_t *producer, uint64_t now) {
    uint64_t room = paced_room(producer, now), window = (uint64_t)perf->settings.window;
    uint64_t wanted = (uint64_t)perf->settings.publishes, open = producer->sent - producer->settled;
    if (producer->is_full) return 0;
    if (perf->settings.window >= 0 && open + room > window) room = open < window ? window - open : 0;
    if (wanted > 0 && producer->sent + room > wanted) room = wanted - producer->sent;
    return room;
}

/* Returns whether anything was published. */
static bool publish_batch(producer_t *producer, uint64_t now) {
    uint64_t room = room_of(producer, now);
    for (uint64_t i = 0; i < room && !program_is_ending(&perf->program); i++) {
        int64_t rc = publish(producer, uv_hrtime());
        producer->is_full = rc == LAGO_EAGAIN;
        if (producer->is_full) return i > 0;
        if (!program_took(&perf->program, "cannot publish", rc)) return false;
        producer->sent++;
        producer->paced++;
        perf->now.sent++;
    }
    if (room > 0 && is_finished(producer)) await_reading(producer);
    return room > 0;
}

/* ---------------------------------------------------------------- turns */

static void on_due(uv_timer_t *timer) {
    (void)timer;
    wake();
}

/* With a rate, somebody may publish soon. */
static void rest(uint64_t now) {
    double rate = perf->settings.rate;
    uint64_t next = UINT64_MAX;
    uv_idle_stop(&busy);
    for (size_t i = 0; rate > 0 && i < producer_count; i++) {
        uint64_t time = producers[i].since + (uint64_t)((double)producers[i].paced / rate * SECOND_NS);
        if (time < next) next = time;
    }
    if (next == UINT64_MAX || perf->is_over) return;
    uint64_t wait_ms = next > now ? (next - now + 999999) / 1000000 : 1;
    uv_update_time(&perf->program.loop);
    uv_timer_start(&due, on_due, wait_ms, 0);
}

static void on_busy(uv_idle_t *idle) {
    uint64_t now = uv_hrtime();
    bool any = false;
    (void)idle;
    for (size_t i = 0; i < producer_count && !perf->is_over; i++) any |= publish_batch(&producers[i], now);
    if (!any) rest(now);
}

void producers_begin(uint64_t now) {
    for (size_t i = 0; i < producer_count; i++) producers[i].since = now;
    if (producer_count > 0) wake();
}

/* ---------------------------------------------------------------- coming up, going down */

static void on_ready(lago_publisher_t *publisher, void *data) {
    producer_t *producer = data;
    (void)publisher;
    producer->is_full = false;
    wake();
}

static void on_channel_open(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    if (reason)
        perf_on_channel_end(ch, reason, data);
    else if (perf->settings.window < 0)
        perf_one_is_ready(perf);
}

static void on_selected(lago_channel_t *ch, const lago_reason_t *reason, void *data) {
    (void)ch, (void)data;
    if (reason)
        program_fail(&perf->program, "cannot have publishes confirmed", reason);
    else
        perf_one_is_ready(perf);
}

/* The window is kept here: lago's would not be filled again before half of it is empty. */
static int open_channel(producer_t *producer, lago_connection_t *conn) {
    const perf_settings_t *settings = &perf->settings;
    bool confirms = settings->window >= 0;
    lago_channel_options_t channel = {
        .on_open = on_channel_open,
        .on_close = perf_on_channel_end,
        .on_return = on_return,
        .data = producer,
    };
    lago_publisher_options_t route = {
        .exchange = settings->exchange,
        .routing_key = settings->routing_key,
        .mandatory = settings->mandatory,
        .properties = &(lago_properties_t){ .delivery_mode = settings->persistent ? LAGO_PERSISTENT : LAGO_TRANSIENT },
        .on_outcome = confirms ? on_outcome : NULL,
        .on_ready = on_ready,
        .data = producer,
    };
    int rc = lago_channel_open(conn, &channel, &producer->ch);
    if (rc == 0 && confirms) rc = lago_confirm_select(producer->ch, NULL, on_selected, NULL);
    return rc < 0 ? rc : lago_publisher_new(producer->ch, &route, &producer->publisher);
}

static void on_open(program_link_t *link) {
    producer_link_t *own = (producer_link_t *)link;
    for (int i = 0; i < perf->settings.producer_channels; i++) {
        int rc = open_channel(&own->producers[i], link->conn);
        if (!program_took(&perf->program, "cannot open a channel to publish on", rc)) return;
    }
}

static bool prepare(void) {
    const perf_settings_t *settings = &perf->settings;
    size_t size = (size_t)settings->size;
    producer_count = (size_t)settings->producers * (size_t)settings->producer_channels;
    links = calloc((size_t)settings->producers + 1, sizeof *links);
    producers = calloc(producer_count + 1, sizeof *producers);
    if (size <= COPIED_MAX) copied = malloc(size);
    if (copied) memset(copied, 'x', size);
    uv_idle_init(&perf->program.loop, &busy);
    uv_timer_init(&perf->program.loop, &due);
    has_handles = true;
    return links && producers && (copied || size > COPIED_MAX);
}

bool producers_connect(perf_t *ours) {
    perf = ours;
    if (!prepare()) return program_took(&perf->program, "cannot produce", LAGO_ENOMEM);
    for (int i = 0; i < perf->settings.producers; i++) {
        links[i].link = (program_link_t){ .on_open = on_open };
        links[i].producers = producers + (size_t)i * (size_t)perf->settings.producer_channels;
        if (!program_connect(&perf->program, &links[i].link)) return false;
    }
    return true;
}

void producers_stop(void) {
    if (!has_handles) return;
    has_handles = false;
    uv_close((uv_handle_t *)&busy, NULL);
    uv_close((uv_handle_t *)&due, NULL);
}

void producers_free(void) {
    while (spare_loans) {
        loan_t *gone = spare_loans;
        spare_loans = gone->next;
        free(gone);
    }
    free(links);
    free(producers);
    free(copied);
}
