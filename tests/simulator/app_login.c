/*
 * The same application, logging in: asked for credentials or challenged by the broker, it answers at once, late, never, or by a
 * refusal. Must not know what the broker makes of it.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* When the answer comes that is not given at once. */
static void put_off(struct life *life, struct sim_conn *conn, struct chance *c) {
    static const uint64_t late[] = { 0, 50, 3000, 30000 };
    COUNT(late_logins);
    conn->question.owed = true;
    conn->question.due = percent(c, 10) ? UINT64_MAX : life->now + (roll(c, 2) ? 0 : roll(c, 1 + late[roll(c, 4)]));
}

/* Of a question that the handshake still waits for, the answer is taken; a second one is stale. */
static void check_taken(struct life *life, const struct sim_conn *conn, int rc) {
    const struct model_link *link = conn->link;
    const struct sim_question *question = &conn->question;
    bool waits = link && link->frames == question->frames && conn->links == question->links && !link->mute && !conn->lied &&
                 !conn->memory_failed && !conn->end_asked && !question->refresh && !link->hang_up &&
                 (link->state == MODEL_WAIT_START_OK || link->state == MODEL_WAIT_SECURE_OK);
    if (rc == LAGO_ESTALE && waits) sim_broken(life, "the answer to a login that waits is called stale");
    if (rc == LAGO_ESTALE) COUNT(stale_answers);
}

static int provide(struct life *life, struct sim_conn *conn, struct chance *c) {
    lago_login_t login = { .username = SIM_USER, .password = SIM_PASSWORD };
    if (percent(c, 20)) login.expires_in_s = 1 + (uint32_t)roll(c, 30);
    return CALL(life, lago_login_provide(conn->h, conn->question.ticket, &login));
}

static int respond(struct life *life, struct sim_conn *conn) {
    lago_bytes_t response = { conn->question.words, strlen(conn->question.words) };
    return CALL(life, lago_login_respond(conn->h, conn->question.ticket, response));
}

static void answer(struct life *life, struct sim_conn *conn, struct chance *c) {
    struct sim_question *question = &conn->question;
    bool refuses = percent(c, 10);
    int rc = refuses                  ? CALL(life, lago_login_refuse(conn->h, question->ticket, "not today"))
             : question->is_challenge ? respond(life, conn)
                                      : provide(life, conn, c);
    TRACE(life, "    the login's question %llu is answered%s = %d", (unsigned long long)question->ticket,
          refuses ? " by a refusal" : "", rc);
    question->owed = false;
    check_taken(life, conn, rc);
    if (rc != 0 || !percent(c, 10)) return;
    rc = question->is_challenge ? respond(life, conn) : provide(life, conn, c);
    if (rc != LAGO_ESTALE) sim_broken(life, "a login's question is answered twice: %d", rc);
}

static void asked(struct life *life, struct sim_conn *conn, uint64_t ticket, uint64_t salt) {
    struct chance chance = { chance_mix(life->options->seed, salt + life->callbacks) };
    struct sim_question *question = &conn->question;
    question->ticket = ticket;
    question->links = conn->links;
    question->frames = conn->link ? conn->link->frames : 0;
    question->owed = false;
    if (percent(&chance, 50))
        answer(life, conn, &chance);
    else
        put_off(life, conn, &chance);
}

void told_login(lago_connection_t *h, const lago_login_request_t *request, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_login");
    (void)h;
    conn->question.is_challenge = false;
    conn->question.refresh = request->refresh;
    if (request->refresh) COUNT(refreshes);
    asked(life, conn, request->ticket, UINT64_C(0x10610));
    sim_leave(life, conn);
}

void told_challenge(lago_connection_t *h, const lago_challenge_t *challenge, void *data) {
    struct sim_conn *conn = data;
    struct life *life = sim_enter(conn, "on_challenge");
    struct sim_question *question = &conn->question;
    char expected[sizeof(question->words)];
    (void)h;
    model_challenge_words(expected, sizeof(expected), '?', challenge->round);
    bool asked_so =
        challenge->asked.size == strlen(expected) && memcmp(challenge->asked.data, expected, challenge->asked.size) == 0;
    if (challenge->round == 0 ? challenge->asked.size > 0 : !asked_so && !conn->lied)
        sim_broken(life, "challenge %u came as another", challenge->round);
    COUNT(challenges);
    question->is_challenge = true;
    question->refresh = false;
    model_challenge_words(question->words, sizeof(question->words), '!', challenge->round);
    asked(life, conn, challenge->ticket, UINT64_C(0xc4a11));
    sim_leave(life, conn);
}

void app_answer_login(struct life *life, struct sim_conn *conn) {
    struct chance chance = { chance_mix(life->options->seed, UINT64_C(0x1a7e) + life->now) };
    if (!conn->question.owed || conn->question.due > life->now) return;
    conn->question.owed = conn->h && !conn->ended_told;
    if (conn->question.owed) answer(life, conn, &chance);
}
