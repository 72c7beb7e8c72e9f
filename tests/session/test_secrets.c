/* Passwords: overwritten once they were written, or never will be. */
#include "peer.h"

/* An allocator that knows all its blocks and looks for the password in those that come back. */
struct watched {
    struct watched *next, **back;
    size_t size, pad;
};
static struct watched *watched_first;
static bool found_in_freed;

static bool holds_password(const void *data, size_t size) {
    for (size_t i = 0; i + sizeof(PASSWORD) - 1 <= size; i++)
        if (memcmp((const char *)data + i, PASSWORD, sizeof(PASSWORD) - 1) == 0) return true;
    return false;
}

static void *watched_malloc(size_t size, void *data) {
    (void)data;
    struct watched *block = calloc(1, sizeof(*block) + size);
    block->size = size;
    block->next = watched_first;
    block->back = &watched_first;
    if (block->next) block->next->back = &block->next;
    watched_first = block;
    return block + 1;
}

static void watched_free(void *pointer, void *data) {
    (void)data;
    struct watched *block = (struct watched *)pointer - 1;
    found_in_freed = found_in_freed || holds_password(pointer, block->size);
    *block->back = block->next;
    if (block->next) block->next->back = block->back;
    free(block);
}

static void *watched_realloc(void *pointer, size_t size, void *data) {
    void *moved = watched_malloc(size, data);
    size_t old = pointer ? ((struct watched *)pointer - 1)->size : 0;
    if (pointer) memcpy(moved, pointer, old < size ? old : size);
    if (pointer) watched_free(pointer, data);
    return moved;
}

static bool password_lives(void) {
    for (struct watched *block = watched_first; block; block = block->next)
        if (holds_password(block + 1, block->size)) return true;
    return false;
}

static const lago_allocator_t watching = { .malloc = watched_malloc, .realloc = watched_realloc, .free = watched_free };

static void start_ok_leaves_no_password_behind(void **state) {
    (void)state;
    struct peer p = { .allocator = &watching };
    struct bytes b = { 0 };
    found_in_freed = false;
    peer_init(&p);
    assert_int_equal(session_start(&p.session, p.now), 0);
    bytes_method(&b, 0, METHOD_CONNECTION_START, NULL);
    peer_say(&p, &b);
    assert_true(password_lives());
    assert_false(holds_password(p.trace.data, p.trace.size));
    peer_write(&p, 20);
    while (p.session.out.size > 0) peer_write(&p, 1);
    assert_true(holds_password(p.wire.data, p.wire.size));
    assert_false(password_lives());
    assert_false(found_in_freed);
    peer_deinit(&p);
    assert_null(watched_first);
}

/* Also when it never left: the link goes, or another attempt begins. */
static void unwritten_passwords_are_wiped(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct peer p = { .allocator = &watching };
        found_in_freed = false;
        peer_init(&p);
        assert_int_equal(session_start(&p.session, p.now), 0);
        peer_say_method(&p, 0, METHOD_CONNECTION_START, NULL);
        if (way == 1) peer_write(&p, 60);
        session_lost(&p.session, -104, p.now);
        if (way == 2) assert_int_equal(session_start(&p.session, p.now), 0);
        if (way == 2) assert_false(password_lives());
        peer_deinit(&p);
        assert_false(found_in_freed);
        assert_null(watched_first);
    }
}

static void new_secrets_are_wiped(void **state) {
    (void)state;
    struct connection_update_secret args = { .new_secret = { PASSWORD, sizeof(PASSWORD) - 1 }, .reason = { "rotated", 7 } };
    struct peer p = { .allocator = &watching };
    found_in_freed = false;
    peer_init(&p);
    peer_bring(&p, SESSION_OPEN);
    assert_int_equal(session_send(&p.session, 0, METHOD_CONNECTION_UPDATE_SECRET, &args), 0);
    assert_int_equal(peer_publish(&p, 1, 9000), 0);
    assert_true(password_lives());
    (void)peer_frames(&p);
    assert_false(password_lives());
    assert_false(found_in_freed);
    peer_deinit(&p);
}

/* Given before the connection is open it is held, and released with the rest; or never, if the link does not get that far. */
static void held_secrets_are_wiped(void **state) {
    (void)state;
    struct connection_update_secret args = { .new_secret = { PASSWORD, sizeof(PASSWORD) - 1 }, .reason = { "early", 5 } };
    for (int opened = 0; opened < 3; opened++) {
        struct peer p = { .allocator = &watching };
        found_in_freed = false;
        peer_init(&p);
        assert_int_equal(session_send(&p.session, 0, METHOD_CONNECTION_UPDATE_SECRET, &args), 0);
        assert_true(password_lives());
        if (opened) {
            peer_bring(&p, opened == 1 ? SESSION_OPEN : SESSION_WAIT_OPEN);
            if (opened == 2) peer_say_method(&p, 0, METHOD_CONNECTION_OPEN_OK, NULL); /* and nothing else waits to be written */
            session_release_held(&p.session);
            assert_int_equal(p.session.held_size, 0);
            (void)peer_frames(&p);
            assert_false(password_lives());
        }
        peer_deinit(&p);
        assert_false(found_in_freed);
        assert_null(watched_first);
    }
}

/* Released only when the handshake has long been written, and its wiping is over. */
static void held_secrets_are_wiped_later_too(void **state) {
    (void)state;
    struct connection_update_secret args = { .new_secret = { PASSWORD, sizeof(PASSWORD) - 1 }, .reason = { "early", 5 } };
    struct peer p = { .allocator = &watching };
    found_in_freed = false;
    peer_init(&p);
    p.tune.heartbeat_s = 10;
    assert_int_equal(session_send(&p.session, 0, METHOD_CONNECTION_UPDATE_SECRET, &args), 0);
    peer_bring(&p, SESSION_WAIT_OPEN);
    p.mute = true;
    peer_say_method(&p, 0, METHOD_CONNECTION_OPEN_OK, NULL);
    peer_pass(&p, 5000);
    assert_string_equal(peer_frames(&p), "0 heartbeat\n");
    session_release_held(&p.session);
    assert_int_equal(p.session.held_size, 0);
    (void)peer_frames(&p);
    assert_false(password_lives());
    assert_false(found_in_freed);
    peer_deinit(&p);
    assert_null(watched_first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_ok_leaves_no_password_behind),
        cmocka_unit_test(unwritten_passwords_are_wiped),
        cmocka_unit_test(new_secrets_are_wiped),
        cmocka_unit_test(held_secrets_are_wiped),
        cmocka_unit_test(held_secrets_are_wiped_later_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
