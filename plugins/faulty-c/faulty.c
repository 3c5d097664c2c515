/* faulty_c: a plugin that breaks the rules of the border on purpose, for the tests of the daemon. What it breaks is
 * chosen when it is compiled, because much of it is said before there are settings:
 *   cc -std=c99 -shared -fPIC -pthread -DFAULT=STRIDE_ZERO -I ../../plugin-api/include -o libfaulty_c.so faulty.c
 * Pointers that point nowhere are left out: no host can see through them in its own process. */
#define _POSIX_C_SOURCE 200809L
#include "broadcastd_plugin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum fault {
    NONE,
    /* before anything is executed: the note */
    NOTE_OTHER_MAJOR,   /* made for ABI 2 */
    NOTE_ABORTS,        /* panics abort */
    NOTE_OTHER_ID,      /* the note says xaulty_c */
    NOTE_OTHER_OWNER,   /* the note is somebody else's */
    NOTE_NOT_ENDED,     /* its version fills the field without a NUL and is not UTF-8 */
    /* while it is loaded: the table */
    NULL_TABLE,         /* NULL after fail() */
    TABLE_SIZE_ZERO,    /* the table says it has 0 bytes */
    TABLE_SIZE_TINY,    /* the table ends before create */
    TABLE_SIZE_LARGER,  /* right: a newer plugin's table is longer than the host knows */
    NULL_FUNCTIONS,     /* every function is NULL */
    BAD_ID,             /* the id is not UTF-8 */
    NULL_ID,            /* the id is NULL with a length */
    BAD_SCHEMA,         /* the schema is not JSON */
    BAD_STREAM,         /* the declaration of the stream is not JSON */
    /* while it runs */
    NO_INSTANCE,        /* create says BCD_OK and makes none */
    ODD_STATUS,         /* on_events answers a number that nobody knows */
    SAVE_ENDLESS,       /* writes state until it is refused, then says BCD_OK */
    /* at every timer: publish() */
    MESSAGE_SIZE_ZERO,
    MESSAGE_SIZE_HUGE,  /* a message larger than the stride */
    MESSAGE_SIZE_LARGER,/* right: a newer plugin's message is longer, and so is the stride */
    MESSAGE_SIZE_OLDER, /* right: a message that ends after the payload */
    STRIDE_ZERO,
    COUNT_HUGE,         /* more messages than memory holds */
    NULL_MESSAGES,
    NULL_TEXT,          /* NULL with a length */
    BAD_TEXT,           /* not UTF-8 */
    BAD_JSON,
    /* at every timer: other functions of the host */
    NULL_HANDLE,        /* every function with NULL for the handle */
    WRONG_HANDLE,       /* every function with a handle that nobody gave */
    REPLY_TO_NOBODY,
    ENDLESS_LOG,        /* lines of a mebibyte that are not UTF-8 */
    WRONG_METRICS,      /* kinds, names and labels that are none */
    NEGATIVE_TIMER,
    /* threads */
    FOREIGN_THREAD,     /* right: publishes from a thread of its own */
    AFTER_DESTROY       /* that thread goes on after destroy, until the process ends */
};

#ifndef FAULT
#define FAULT NONE
#endif

#define IS(name) (FAULT == (name))
#define TEXT(literal) {literal, sizeof(literal) - 1}
#define MEBIBYTE 1048576

__attribute__((used, aligned(4), section(BCD_NOTE_SECTION))) static const struct {
    uint32_t name_size, descriptor_size, type;
    char owner[12];
    bcd_note note;
} note = {sizeof(BCD_NOTE_OWNER), sizeof(bcd_note), BCD_NOTE_TYPE,
          {IS(NOTE_OTHER_OWNER) ? 'x' : 'b', 'r', 'o', 'a', 'd', 'c', 'a', 's', 't', 'd', 0, 0},
          {IS(NOTE_OTHER_MAJOR) ? 2u : 1u, 0u, IS(NOTE_ABORTS) ? 0u : 1u,
           {IS(NOTE_OTHER_ID) ? 'x' : 'f', 'a', 'u', 'l', 't', 'y', '_', 'c'},
#define B (IS(NOTE_NOT_ENDED) ? (char)-1 : 0)
           {'1', '.', '0', B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B}}};

static const bcd_host_api *host_api;
static bcd_host *host; /* of the one instance; kept beyond destroy on purpose */

typedef struct larger_message {
    bcd_msg known;
    uint64_t added[4];
} larger_message;

static bcd_str text(const char *ptr, size_t len) {
    bcd_str str;
    str.ptr = ptr;
    str.len = len;
    return str;
}

static larger_message message(void) {
    static const char payload[] = "{\"fault\":true}";
    larger_message made;
    memset(&made, 0, sizeof made);
    made.known.size = sizeof made.known;
    made.known.type = text("fault", 5);
    made.known.key = text("current", 7);
    made.known.payload.ptr = (const uint8_t *)payload;
    made.known.payload.len = sizeof payload - 1;
    return made;
}

static void publish(void) {
    larger_message messages[2];
    size_t count = 2, stride = sizeof messages[0];
    messages[0] = messages[1] = message();
    if (IS(MESSAGE_SIZE_ZERO)) messages[1].known.size = 0;
    if (IS(MESSAGE_SIZE_HUGE)) messages[1].known.size = 65536;
    if (IS(MESSAGE_SIZE_LARGER)) messages[0].known.size = messages[1].known.size = sizeof messages[0];
    if (IS(MESSAGE_SIZE_OLDER)) messages[0].known.size = messages[1].known.size = offsetof(bcd_msg, unix_ns);
    if (IS(STRIDE_ZERO)) stride = 0;
    if (IS(COUNT_HUGE)) count = (size_t)-1;
    if (IS(NULL_TEXT)) messages[1].known.topic = text(NULL, 5);
    if (IS(BAD_TEXT)) messages[1].known.topic = text("\xff\xfe", 2);
    if (IS(BAD_JSON)) messages[1].known.payload.len--;
    host_api->publish(host, IS(NULL_MESSAGES) ? NULL : &messages[0].known, count, stride);
}

static void call_everything(bcd_host *handle) {
    static const bcd_str empty = {NULL, 0};
    static const bcd_bytes nothing = {NULL, 0};
    larger_message one = message();
    host_api->log(handle, BCD_LOG_ERROR, empty, text("from a wrong handle", 19));
    host_api->log_level(handle);
    host_api->fail(handle, BCD_E_FAILED, empty, empty);
    host_api->publish(handle, &one.known, 1, sizeof one);
    host_api->demand(handle, empty);
    host_api->reply(handle, 1, BCD_OK, nothing);
    host_api->timer_set(handle, 2, 0, 0);
    host_api->timer_clear(handle, 2);
    host_api->wake(handle);
    host_api->metric_record(handle, host_api->metric_open(handle, BCD_METRIC_GAUGE, text("g", 1), empty, empty), 1);
    host_api->health(handle, BCD_HEALTH_DEGRADED, empty);
    host_api->now_mono_ns(handle);
    host_api->now_unix_ns(handle);
    host_api->extension(handle, empty);
}

static void log_endlessly(void) {
    char *line = malloc(MEBIBYTE);
    if (line == NULL) return;
    memset(line, 0xff, MEBIBYTE);
    host_api->log(host, 4711, text(line, MEBIBYTE), text(line, MEBIBYTE));
    free(line);
}

static void record_wrongly(void) {
    static const bcd_str empty = {NULL, 0};
    host_api->metric_open(host, 99, text("kind", 4), empty, text("{}", 2));
    host_api->metric_open(host, BCD_METRIC_COUNTER, text("no name!", 8), empty, text("{}", 2));
    host_api->metric_open(host, BCD_METRIC_COUNTER, text("labels", 6), empty, text("[1]", 3));
    host_api->metric_record(host, -1, 1);
    host_api->metric_record(host, INT64_MAX, 1);
}

static void *run(void *unused) {
    struct timespec pause = {0, 10000000};
    (void)unused;
    for (;;) {
        larger_message one = message();
        if (host_api->publish(host, &one.known, 1, sizeof one) == BCD_E_CLOSED && !IS(AFTER_DESTROY)) return NULL;
        nanosleep(&pause, NULL);
    }
}

static bcd_status create(bcd_host *handle, bcd_str settings, bcd_instance **instance) {
    (void)settings;
    host = handle;
    if (!IS(NO_INSTANCE)) *instance = (bcd_instance *)&host;
    return BCD_OK;
}

static bcd_status start(bcd_instance *instance) {
    pthread_t thread;
    (void)instance;
    if ((IS(FOREIGN_THREAD) || IS(AFTER_DESTROY)) && pthread_create(&thread, NULL, run, NULL) == 0)
        pthread_detach(thread);
    return host_api->timer_set(host, 1, IS(NEGATIVE_TIMER) ? -1 : 10000000, 10000000);
}

static bcd_status on_events(bcd_instance *instance, const bcd_event *events, size_t count, size_t stride) {
    static const bcd_bytes nothing = {NULL, 0};
    (void)instance;
    for (; count > 0; count--, events = (const bcd_event *)((const char *)events + stride)) {
        if (events->kind != BCD_EVENT_TIMER) continue;
        publish();
        if (IS(NULL_HANDLE)) call_everything(NULL);
        if (IS(WRONG_HANDLE)) call_everything((bcd_host *)(uintptr_t)0xdead);
        if (IS(REPLY_TO_NOBODY)) host_api->reply(host, 4711, BCD_OK, nothing);
        if (IS(ENDLESS_LOG)) log_endlessly();
        if (IS(WRONG_METRICS)) record_wrongly();
    }
    return IS(ODD_STATUS) ? -4711 : BCD_OK;
}

static bcd_status save_state(bcd_instance *instance, const bcd_writer *writer) {
    static const uint8_t zeros[MEBIBYTE];
    (void)instance;
    while (IS(SAVE_ENDLESS) && writer->write(writer->context, zeros, sizeof zeros) == BCD_OK) continue;
    return BCD_OK;
}

static bcd_status restore_state(bcd_instance *instance, uint32_t from_version, bcd_bytes state) {
    (void)instance;
    (void)from_version;
    (void)state;
    return BCD_OK;
}

static void destroy(bcd_instance *instance) { (void)instance; }

BCD_EXPORT const bcd_plugin_api *broadcastd_plugin_v1(const bcd_host_api *api, bcd_host *loader) {
    static struct {
        bcd_plugin_api known;
        void *added[4];
    } table = {{sizeof(bcd_plugin_api), BCD_ABI_MINOR, TEXT("faulty_c"), TEXT("1.0.0"), TEXT("Breaks the rules"),
                TEXT("{\"type\":\"object\"}"), TEXT("{\"view\":\"log\",\"kinds\":{\"fault\":{\"schema\":true,\"collection\":\"faults\"}}}"),
                1, 0, NULL, create, start, on_events, save_state, restore_state, NULL, destroy, NULL}, {0}};
    host_api = api;
    if (IS(NULL_TABLE)) {
        host_api->fail(loader, BCD_E_FAILED, text(NULL, 0), text("no table, on purpose", 20));
        return NULL;
    }
    if (IS(TABLE_SIZE_ZERO)) table.known.size = 0;
    if (IS(TABLE_SIZE_TINY)) table.known.size = offsetof(bcd_plugin_api, create);
    if (IS(TABLE_SIZE_LARGER)) table.known.size = sizeof table;
    if (IS(NULL_FUNCTIONS)) memset(&table.known.validate, 0, sizeof table.known - offsetof(bcd_plugin_api, validate));
    if (IS(BAD_ID)) table.known.id = text("\xff", 1);
    if (IS(NULL_ID)) table.known.id = text(NULL, 8);
    if (IS(BAD_SCHEMA)) table.known.config_schema = text("{", 1);
    if (IS(BAD_STREAM)) table.known.stream = text("no", 2);
    return &table.known;
}
