/*
 * Who logs in, and by what. The order of mechanisms is the caller's: his own ones that he does not name come first, then what he
 * names. Knows no connection.
 */
#include "credentials.h"
#include "reason.h"
#include <string.h>

#define DEFAULT_USERNAME   "guest"
#define DEFAULT_PASSWORD   "guest"
#define DEFAULT_MECHANISMS "PLAIN AMQPLAIN"

#define OWN_MECHANISMS_MAX 16u /* no broker offers as many */
#define NAME_SHOWN         64u

static lago_string_t string(const char *text) { return (lago_string_t){ text, strlen(text) }; }

void credentials_fill(lago_credentials_t *who) {
    if (who->on_login)
        who->password = NULL; /* it would only lie about */
    else if (!who->password)
        who->password = who->username ? "" : DEFAULT_PASSWORD;
    if (!who->username) who->username = DEFAULT_USERNAME;
    /* a password is not to be sent by a mechanism that was not asked for, only because the broker offers nothing else */
    if (!who->mechanisms) who->mechanisms = who->own_mechanism_count ? "" : DEFAULT_MECHANISMS;
}

/* ---------------------------------------------------------------- checks */

static const lago_mechanism_t *find_own(const lago_credentials_t *who, lago_string_t name) {
    for (size_t i = 0; i < who->own_mechanism_count; i++) {
        const char *own = who->own_mechanisms[i].name;
        if (strlen(own) == name.size && memcmp(own, name.data, name.size) == 0) return &who->own_mechanisms[i];
    }
    return NULL;
}

static const char *own_problem(const lago_mechanism_t *mechanism) {
    if (!mechanism->on_challenge) return "without on_challenge";
    if (!mechanism->name || *mechanism->name == '\0') return "without a name";
    if (strchr(mechanism->name, ' ')) return "a name with a space";
    return parameters_name_problem(mechanism->name);
}

static int check_own(const lago_credentials_t *who, lago_reason_t *reason) {
    const char *problem = NULL;
    if (who->own_mechanism_count > OWN_MECHANISMS_MAX) problem = "more than 16";
    if (who->own_mechanism_count && !who->own_mechanisms) problem = "NULL with a count";
    for (size_t i = 0; !problem && i < who->own_mechanism_count; i++) problem = own_problem(&who->own_mechanisms[i]);
    if (!problem) return 0;
    return parameters_reject(reason, LAGO_EPARAMETER, "credentials.own_mechanisms", problem,
                             "each has a name as the broker announces it, and on_challenge");
}

static int check_names(const lago_credentials_t *who, lago_reason_t *reason) {
    static const char hint[] = "PLAIN, AMQPLAIN, EXTERNAL and names of own_mechanisms, in capitals, with spaces between them";
    lago_string_t list = string(who->mechanisms), name;
    bool any = who->own_mechanism_count > 0;
    while (mechanism_next(&list, &name)) {
        char shown[NAME_SHOWN * 4 + 8], problem[sizeof(shown) + 32];
        struct text t;
        any = true;
        if (mechanism_find(name) || find_own(who, name)) continue;
        text_init(&t, shown, sizeof(shown));
        text_add_escaped(&t, name.data, name.size, NAME_SHOWN);
        text_init(&t, problem, sizeof(problem));
        text_addf(&t, "no mechanism has the name \"%s\"", shown);
        return parameters_reject(reason, LAGO_EPARAMETER, "credentials.mechanisms", problem, hint);
    }
    return any ? 0 : parameters_reject(reason, LAGO_EPARAMETER, "credentials.mechanisms", "names none", hint);
}

int credentials_check(const lago_credentials_t *who, lago_reason_t *reason) {
    const char *problem = parameters_name_problem(who->username);
    if (*who->username == '\0')
        return parameters_reject(reason, LAGO_EPARAMETER, "credentials.username", "empty", "NULL for the default, guest");
    if (problem) return parameters_reject(reason, LAGO_ETOOLONG, "credentials.username", problem, "use 255 bytes or fewer");
    int rc = check_own(who, reason);
    return rc < 0 ? rc : check_names(who, reason);
}

/* ---------------------------------------------------------------- the copy */

static int hold_own(struct parameters *p) {
    lago_credentials_t *who = &p->values.credentials;
    size_t size = who->own_mechanism_count * sizeof(lago_mechanism_t);
    if (size == 0) return 0;
    lago_mechanism_t *held = (void *)parameters_room(p, size); /* data[] lies as malloc's memory does: two words behind it */
    if (!held) return LAGO_ENOMEM;
    for (size_t i = 0; i < who->own_mechanism_count; i++) {
        held[i] = who->own_mechanisms[i];
        held[i].name = parameters_hold(p, held[i].name);
        if (!held[i].name) return LAGO_ENOMEM;
    }
    who->own_mechanisms = held;
    return 0;
}

int credentials_hold(struct parameters *p) {
    lago_credentials_t *who = &p->values.credentials;
    const char **strings[] = { &who->username, &who->password, &who->mechanisms };
    int rc = parameters_hold_all(p, strings, sizeof(strings) / sizeof(strings[0]));
    return rc < 0 ? rc : hold_own(p);
}

/* ---------------------------------------------------------------- choosing */

bool credentials_choose(const lago_credentials_t *who, lago_string_t offered, struct chosen_mechanism *chosen) {
    lago_string_t named = string(who->mechanisms), list = named, name;
    *chosen = (struct chosen_mechanism){ NULL, NULL };
    for (size_t i = 0; i < who->own_mechanism_count; i++) {
        name = string(who->own_mechanisms[i].name);
        if (mechanism_is_in(named, name) || !mechanism_is_in(offered, name)) continue;
        chosen->own = &who->own_mechanisms[i];
        return true;
    }
    while (mechanism_next(&list, &name)) {
        if (!mechanism_is_in(offered, name)) continue;
        chosen->own = find_own(who, name);
        if (!chosen->own) chosen->ours = mechanism_find(name);
        return true;
    }
    return false;
}

void credentials_list(struct text *t, const lago_credentials_t *who) {
    lago_string_t named = string(who->mechanisms), list = named, name;
    const char *separator = "";
    for (size_t i = 0; i < who->own_mechanism_count; i++) {
        name = string(who->own_mechanisms[i].name);
        if (mechanism_is_in(named, name)) continue;
        text_addf(t, "%s%.64s", separator, name.data);
        separator = ", ";
    }
    while (mechanism_next(&list, &name)) {
        text_addf(t, "%s%.*s", separator, (int)(name.size < NAME_SHOWN ? name.size : NAME_SHOWN), name.data);
        separator = ", ";
    }
}
