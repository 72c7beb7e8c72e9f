/*
 * A scene: one client of lago's and one peer, alone on a loop; what the client trusts and expects, what the peer shows and does
 * wrong; and what came of it. A peer that nothing was changed of is a good one. Knows lago's public headers.
 */
#ifndef BADPEERS_SCENE_H
#define BADPEERS_SCENE_H

#include "certs.h"
#include "forge.h"
#include "peer.h"
#include <lago.h>

#define SCENE_NAME     "broker.example" /* expected, unless a row says otherwise */
#define SCENE_USER     "marker-user"
#define SCENE_PASSWORD "marker-password-4711"

struct scene {
    struct peer_script script;
    lago_parameters_t parameters;
    lago_tls_options_t tls;
    void *owned[24]; /* freed behind the run, by */
    void (*free_owned[24])(void *);
    size_t owned_count;
    unsigned file_count;
};

struct outcome {
    bool opened, ended, hung;
    lago_reason_t reason; /* code 0: opened, and closed again in order */
    char version[16], cipher[64];
    bool resumed;           /* the last link */
    size_t plain_size;      /* bytes that the peer decrypted */
    size_t flight_size;     /* of the peer's handshake */
    bool password_received; /* by the peer, in clear or decrypted */
    bool header_in_clear;   /* "AMQP" outside of TLS */
    bool password_told;     /* in a log line or in the reason */
    bool leaked;            /* memory of lago's */
    size_t memory_peak;     /* of lago and of OpenSSL, both sides of it */
    unsigned client_count;
    double ms;
};

/* Once, before anything else; the directory of files is removed at the end. */
void scene_begin(void);
void scene_end(void);

/* The good CA, a server of its with the good name, an authority that nobody trusts. */
extern struct cert *scene_ca, *scene_server, *scene_stranger_ca;

void scene_init(struct scene *scene);
void scene_free(struct scene *scene);

/* A certificate, a text, for the life of the scene. */
struct cert *scene_cert(struct scene *scene, const struct cert_options *options);
char *scene_text(struct scene *scene, char *text);
const char *scene_file(struct scene *scene, char *text);

/* The peer shows this certificate and these intermediate ones (NULL at the end). */
#define scene_serve(scene, ...) scene_serve_these((scene), (const struct cert *const[]){ __VA_ARGS__, NULL })
void scene_serve_these(struct scene *scene, const struct cert *const *chain);

/* The client trusts this CA instead. */
void scene_trust(struct scene *scene, const struct cert *ca);

void scene_run(const struct scene *scene, struct outcome *outcome);

#endif
