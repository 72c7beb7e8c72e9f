/*
 * Where reads go, over every way that there is: buffers whose size follows what comes, bytes that are put straight where they belong,
 * reads that are kept small.
 */
#include "context.h"
#include "way.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIG ((size_t)4 * 1024 * 1024)

static void assert_received(struct way_room *room, const uint8_t *data, size_t size) {
    run_until_size(&room->loop, &room->conn->received_size, size);
    assert_memory_equal(room->conn->received, data, size);
}

/* A flood makes them large; when it is over one small one is left. */
static void buffers_follow_what_comes(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(BIG);
    way_enter(&room, (struct peer){ .echo = false }, 0);
    const struct slab_pool *pool = &room.context->slabs;
    size_t small = pool->size;
    assert_int_equal(small, 32768);
    room.conn->wants.read = false; /* until there is something to be read */
    fake_wake(room.conn);
    run_a_while(&room.loop);
    peer_write(&room.peer, 0, data, BIG);
    run_a_while(&room.loop);
    room.conn->wants.read = true;
    fake_wake(room.conn);
    assert_received(&room, data, BIG);
    assert_true(room.conn->largest_input > small);
    assert_true(pool->size > small || pool->small_count > 0);
    assert_in_range(pool->size, small, 256 * 1024);
    while (slab_pool_is_rich(pool)) uv_run(&room.loop, UV_RUN_ONCE); /* a reminder comes */
    assert_int_equal(pool->size, small);
    way_leave(&room, false);
    free(data);
}

static void bytes_go_straight_to_their_place(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(BIG);
    way_enter(&room, (struct peer){ .echo = false }, 0);
    peer_write(&room.peer, 0, data, 1000);
    assert_received(&room, data, 1000);
    int inputs = room.conn->counts[FAKE_INPUT];
    room.conn->room_size = 300000;
    peer_write(&room.peer, 0, data + 1000, BIG - 1000);
    assert_received(&room, data, BIG);
    assert_int_equal(room.conn->filled_size, 300000); /* all of it, and not a byte more */
    assert_true(room.conn->counts[FAKE_INPUT] > inputs + 1);
    way_leave(&room, false);
    free(data);
}

/* Others get their turn: a room without end is filled a megabyte at a time. */
static void a_flood_into_its_place_gives_way(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(BIG);
    way_enter(&room, (struct peer){ .echo = false }, 0);
    room.conn->room_size = BIG;
    peer_write(&room.peer, 0, data, BIG);
    while (room.conn->received_size < BIG) {
        size_t before = room.conn->received_size;
        uv_run(&room.loop, UV_RUN_NOWAIT);
        assert_in_range(room.conn->received_size - before, 0, (size_t)1024 * 1024 + FAKE_ROOM_MAX);
    }
    assert_memory_equal(room.conn->received, data, BIG);
    assert_int_equal(room.conn->filled_size, BIG);
    way_leave(&room, false);
    free(data);
}

static void reads_can_be_kept_small(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(200000);
    way_enter(&room, (struct peer){ .echo = false }, 0);
    room.conn->read_max = 1000;
    peer_write(&room.peer, 0, data, 200000);
    assert_received(&room, data, 200000);
    assert_int_equal(room.conn->largest_input, 1000);
    if (!way_is_tls())
        assert_int_equal(room.context->slabs.size, 32768); /* such a read says nothing about what would have come */
    way_leave(&room, false);
    free(data);
}

static void the_end_in_the_middle(void **state) {
    (void)state;
    struct way_room room;
    uint8_t *data = way_pattern(5000);
    way_enter(&room, (struct peer){ .echo = false }, 0);
    room.conn->room_size = 100000;
    peer_write(&room.peer, 0, data, 5000);
    peer_close(&room.peer);
    run_until_count(&room.loop, &room.conn->counts[FAKE_LOST], 1);
    assert_int_equal(room.conn->lost_status, UV_EOF);
    assert_int_equal(room.conn->filled_size, 5000);
    assert_memory_equal(room.conn->received, data, 5000);
    way_leave(&room, false);
    free(data);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(buffers_follow_what_comes, way_begin, way_end),
        cmocka_unit_test_setup_teardown(bytes_go_straight_to_their_place, way_begin, way_end),
        cmocka_unit_test_setup_teardown(a_flood_into_its_place_gives_way, way_begin, way_end),
        cmocka_unit_test_setup_teardown(reads_can_be_kept_small, way_begin, way_end),
        cmocka_unit_test_setup_teardown(the_end_in_the_middle, way_begin, way_end),
    };
    if (!way_choose(argc, argv)) return 2;
    return cmocka_run_group_tests_name(way_title("uv/read"), tests, NULL, NULL);
}
