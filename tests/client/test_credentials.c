/* Which login mechanism is used: the caller's order, exact words, and nothing that was not named. */
#include "alloc.h"
#include "credentials.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void on_challenge(lago_connection_t *conn, const lago_challenge_t *challenge, void *data) {
    (void)conn, (void)challenge, (void)data;
}

static void on_login(lago_connection_t *conn, const lago_login_request_t *request, void *data) {
    (void)conn, (void)request, (void)data;
}

static const lago_mechanism_t own[] = { { "SCRAM", on_challenge, NULL }, { "PLAIN", on_challenge, NULL } };

/* The name of what is chosen, "own NAME" for the caller's, "" for none. */
static const char *choice(const char *mechanisms, size_t own_count, const char *offered) {
    static char words[80];
    lago_credentials_t who = { .mechanisms = mechanisms, .own_mechanisms = own, .own_mechanism_count = own_count };
    struct chosen_mechanism chosen;
    credentials_fill(&who);
    assert_int_equal(credentials_check(&who, NULL), 0);
    if (!credentials_choose(&who, (lago_string_t){ offered, strlen(offered) }, &chosen)) return "";
    assert_true((chosen.own == NULL) != (chosen.ours == NULL));
    strcpy(words, chosen.own ? "own " : "");
    return strcat(words, chosen.own ? chosen.own->name : chosen.ours->name);
}

static void the_order_is_the_callers(void **state) {
    (void)state;
    assert_string_equal(choice(NULL, 0, "AMQPLAIN EXTERNAL PLAIN"), "PLAIN");
    assert_string_equal(choice(NULL, 0, "AMQPLAIN EXTERNAL"), "AMQPLAIN");
    assert_string_equal(choice("AMQPLAIN PLAIN", 0, "PLAIN AMQPLAIN"), "AMQPLAIN");
    assert_string_equal(choice("EXTERNAL PLAIN", 0, "PLAIN AMQPLAIN EXTERNAL"), "EXTERNAL");
    assert_string_equal(choice("EXTERNAL PLAIN", 0, "PLAIN AMQPLAIN"), "PLAIN");
    assert_string_equal(choice("  EXTERNAL   PLAIN ", 0, "PLAIN"), "PLAIN");
}

static void what_is_not_named_is_not_used(void **state) {
    (void)state;
    assert_string_equal(choice(NULL, 0, "EXTERNAL"), "");
    assert_string_equal(choice("EXTERNAL", 0, "PLAIN AMQPLAIN"), "");
    assert_string_equal(choice("AMQPLAIN", 0, "PLAIN"), "");
    assert_string_equal(choice(NULL, 1, "PLAIN AMQPLAIN"), ""); /* with mechanisms of one's own only those */
}

static void words_are_exact(void **state) {
    static const char *const others[] = {
        "", " ", "XPLAIN", "PLAINTEXT", "plain", "PLAIN,AMQPLAIN", "PLAI N", "PLAIN\t", "PLAI"
    };
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) assert_string_equal(choice("PLAIN", 0, others[i]), "");
    static const char *const some[] = { "PLAIN", " PLAIN", "PLAIN ", "XPLAIN  PLAIN", "PLAIN PLAIN" };
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) assert_string_equal(choice("PLAIN", 0, some[i]), "PLAIN");
}

static void the_callers_own_come_first_unless_they_are_named(void **state) {
    (void)state;
    assert_string_equal(choice("EXTERNAL", 1, "EXTERNAL SCRAM"), "own SCRAM");
    assert_string_equal(choice("EXTERNAL SCRAM", 1, "SCRAM EXTERNAL"), "EXTERNAL");
    assert_string_equal(choice("EXTERNAL SCRAM AMQPLAIN", 1, "AMQPLAIN SCRAM"), "own SCRAM");
    assert_string_equal(choice(NULL, 2, "PLAIN SCRAM"), "own SCRAM");
    assert_string_equal(choice("AMQPLAIN PLAIN", 2, "PLAIN"), "own PLAIN"); /* his PLAIN, not lago's */
}

static void the_words_for_a_refusal(void **state) {
    static const char *const named[] = { NULL, "EXTERNAL  PLAIN", "PLAIN SCRAM" };
    static const char *const alone[] = { "PLAIN, AMQPLAIN", "EXTERNAL, PLAIN", "" };
    static const char *const with_own[] = { "SCRAM", "SCRAM, EXTERNAL, PLAIN", "PLAIN, SCRAM" };
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        char words[64];
        struct text t;
        lago_credentials_t who = { .mechanisms = named[i / 2], .own_mechanisms = own, .own_mechanism_count = i % 2 };
        if (i == 4) continue;
        credentials_fill(&who);
        text_init(&t, words, sizeof(words));
        credentials_list(&t, &who);
        assert_string_equal(words, i % 2 ? with_own[i / 2] : alone[i / 2]);
    }
}

/* What was moved to the front leaves its end behind. */
static void amqplain_leaves_nothing_behind_its_response(void **state) {
    size_t size = 0;
    (void)state;
    const struct mechanism *amqplain = mechanism_find((lago_string_t){ "AMQPLAIN", 8 });
    uint8_t *response = amqplain->response(&mem_default, "user", "secret", &size);
    assert_non_null(response);
    assert_memory_equal(response + size - 6, "secret", 6);
    assert_memory_equal(response + size, "\0\0\0\0", 4);
    free(response);
}

/* ---------------------------------------------------------------- defaults and checks */

static void assert_refused(const char *mechanisms, size_t own_count, const char *detail) {
    lago_credentials_t who = { .mechanisms = mechanisms, .own_mechanisms = own, .own_mechanism_count = own_count };
    lago_reason_t reason;
    credentials_fill(&who);
    assert_int_equal(credentials_check(&who, &reason), LAGO_EPARAMETER);
    assert_string_equal(reason.detail, detail);
    assert_non_null(strstr(reason.hint, "PLAIN, AMQPLAIN, EXTERNAL"));
}

static void unknown_names_are_refused(void **state) {
    static char much[600];
    (void)state;
    assert_refused("SCRAM", 0, "credentials.mechanisms: no mechanism has the name \"SCRAM\"");
    assert_refused("PLAIN plain", 1, "credentials.mechanisms: no mechanism has the name \"plain\"");
    assert_refused("PLAIN,AMQPLAIN", 0, "credentials.mechanisms: no mechanism has the name \"PLAIN,AMQPLAIN\"");
    assert_refused("PLAIN\n", 0, "credentials.mechanisms: no mechanism has the name \"PLAIN\\n\"");
    assert_refused("", 0, "credentials.mechanisms: names none");
    assert_refused("  ", 0, "credentials.mechanisms: names none");
    memset(much, '\1', sizeof(much) - 1);
    lago_credentials_t who = { .mechanisms = much };
    lago_reason_t reason;
    credentials_fill(&who);
    assert_int_equal(credentials_check(&who, &reason), LAGO_EPARAMETER);
    assert_int_equal(credentials_check(&who, NULL), LAGO_EPARAMETER);
}

static void there_are_not_so_many_mechanisms(void **state) {
    static lago_mechanism_t many[17];
    (void)state;
    for (size_t i = 0; i < 17; i++) many[i] = own[0];
    lago_credentials_t who = { .own_mechanisms = many, .own_mechanism_count = 16 };
    lago_reason_t reason;
    credentials_fill(&who);
    assert_int_equal(credentials_check(&who, &reason), 0);
    who.own_mechanism_count = 17;
    assert_int_equal(credentials_check(&who, &reason), LAGO_EPARAMETER);
    assert_string_equal(reason.detail, "credentials.own_mechanisms: more than 16");
}

/* A name may have 255 octets; a refusal shows 64 of them. */
static void long_names_are_cut_in_a_refusal(void **state) {
    char name[256], words[80], shown[65];
    struct text t;
    (void)state;
    memset(name, 'N', 255);
    name[255] = '\0';
    memset(shown, 'N', 64);
    shown[64] = '\0';
    for (int named = 0; named < 2; named++) {
        const lago_mechanism_t mine = { name, on_challenge, NULL };
        lago_credentials_t who = { .mechanisms = named ? name : NULL, .own_mechanisms = &mine, .own_mechanism_count = 1 };
        credentials_fill(&who);
        assert_int_equal(credentials_check(&who, NULL), 0);
        text_init(&t, words, sizeof(words));
        credentials_list(&t, &who);
        assert_string_equal(words, shown);
    }
}

static void a_password_beside_on_login_is_not_kept(void **state) {
    (void)state;
    lago_parameters_t from = { .credentials = { .username = "user", .password = "very-secret", .on_login = on_login } };
    struct parameters *p = NULL;
    assert_int_equal(parameters_copy(&mem_default, &from, &p, NULL), 0);
    assert_null(p->values.credentials.password);
    assert_string_equal(p->values.credentials.username, "user");
    assert_ptr_equal(p->values.credentials.on_login, on_login);
    parameters_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_is_the_callers),
        cmocka_unit_test(what_is_not_named_is_not_used),
        cmocka_unit_test(words_are_exact),
        cmocka_unit_test(the_callers_own_come_first_unless_they_are_named),
        cmocka_unit_test(the_words_for_a_refusal),
        cmocka_unit_test(amqplain_leaves_nothing_behind_its_response),
        cmocka_unit_test(unknown_names_are_refused),
        cmocka_unit_test(a_password_beside_on_login_is_not_kept),
        cmocka_unit_test(there_are_not_so_many_mechanisms),
        cmocka_unit_test(long_names_are_cut_in_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
