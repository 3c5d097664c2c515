/* faulty_c: a plugin that breaks the rules of the border on purpose, for the tests of the daemon. What it breaks is
 * chosen when it is compiled, because much of it is said before there are settings:
 *   cc -std=c99 -shared -fPIC -pthread -DFAULT=STRIDE_ZERO -I ../../plugin-api/include -o libfaulty_c.so faulty.c
 * With -fsanitize=address, and libasan preloaded into the daemon, it also watches the daemon: everything that it lends
 * has the exact size, lies on the heap and is gone after the call; everything that it is lent is read to the last byte.
 * Left out is what no host can see in its own process: pointers that point nowhere, and lengths beyond a buffer. */
#define _POSIX_C_SOURCE 200809L
#include "broadcastd_plugin.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum fault {
    NONE,
    /* before anything is executed: the note */
    NOTE_OTHER_MAJOR,   /* made for ABI 2 */
    NOTE_ABORTS,        /* panics abort */
    NOTE_OTHER_OWNER,   /* the note is somebody else's */
    NOTE_NOT_ENDED,     /* its version fills the field without a NUL and is not UTF-8 */
    /* while it is loaded: the table */
    HANG_IN_ENTRY,      /* does not come back */
    NULL_TABLE,         /* NULL after fail() */
    NULL_REASON,        /* NULL after fail() with NULL that has a length */
    TABLE_SIZE_ZERO,    /* the table says it has 0 bytes */
    TABLE_SIZE_TINY,    /* the table ends before create */
    TABLE_SIZE_LARGER,  /* right: a newer plugin's table is longer than the host knows */
    NULL_FUNCTIONS,     /* every function is NULL */
    NULL_FUNCTION,      /* one is, the one that -DFUNCTION=… names */
    NULL_OPTIONAL,      /* right: those that may be are */
    BAD_ID,             /* the id is not UTF-8 */
    NULL_ID,            /* the id is NULL with a length */
    BAD_SCHEMA,         /* the schema is not JSON */
    BAD_STREAM,         /* the declaration of the stream is not JSON */
    /* while it runs */
    NO_INSTANCE,        /* create says BCD_OK and makes none */
    ODD_STATUS,         /* on_events answers a number that nobody knows */
    SAVE_LARGEST,       /* right: writes as much state as is kept */
    SAVE_LARGER,        /* writes a byte more, and says BCD_OK */
    SAVE_ENDLESS,       /* writes state until it is refused, then says BCD_OK */
    SAVE_NULL,          /* writes NULL with a length, then says BCD_OK */
    OWN_OVERFLOW,       /* writes beyond its own memory: only a sanitizer sees it, and must */
    /* at every timer: publish() */
    MESSAGE_SIZE_ZERO,
    MESSAGE_SIZE_TINY,  /* a message that does not even hold its size */
    MESSAGE_SIZE_HUGE,  /* a message larger than the stride */
    MESSAGE_SIZE_LARGER,/* right: a newer plugin's message is longer, and so is the stride */
    MESSAGE_SIZE_OLDER, /* right: a message that ends after the payload */
    STRIDE_ZERO,
    STRIDE_TINY,        /* smaller than a message */
    STRIDE_HUGE,        /* two messages do not fit into memory */
    COUNT_HUGE,         /* more messages than memory holds */
    NULL_MESSAGES,
    NULL_TEXT,          /* NULL with a length */
    HUGE_TEXT,          /* longer than memory can be */
    BAD_TEXT,           /* not UTF-8 */
    NUL_TEXT,           /* a NUL inside */
    BAD_JSON,
    /* at every timer: other functions of the host */
    NULL_HANDLE,        /* every function with NULL for the handle */
    WRONG_HANDLE,       /* every function with a handle that nobody gave */
    NULL_ARGUMENTS,     /* every text and every pointer NULL with a length */
    HUGE_ARGUMENTS,     /* every text longer than memory can be */
    BAD_ARGUMENTS,      /* every text not UTF-8 */
    REPLY_TO_NOBODY,
    /* at every command: reply() */
    REPLY_TWICE,
    REPLY_FROM_THREAD,  /* right: from a thread of its own */
    REPLY_GARBAGE,      /* the result is not JSON */
    REPLY_NULL,         /* the result is NULL with a length */
    REPLY_HUGE,         /* a byte more than is taken */
    REPLY_ODD_STATUS,   /* a failure that nobody knows, and a reason that is not JSON */
    REPLY_TO_OTHERS,    /* first to the requests before and behind it */
    /* at every timer: more of the other functions */
    ENDLESS_LOG,        /* lines of a mebibyte that are not UTF-8 */
    WRONG_METRICS,      /* kinds, names and labels that are none */
    NEGATIVE_TIMER,
    /* threads */
    FOREIGN_THREADS,    /* right: several threads of its own call every function, at the same time */
    AFTER_DESTROY,      /* those threads go on after destroy, until the process ends */
    /* what ends the process, and so every broadcaster in it */
    ABORT,              /* at every timer */
    BEYOND_TABLE        /* calls what an older host does not have, without a look at its table's size */
};

#ifndef FAULT
#define FAULT NONE
#endif
#ifndef ID
#define ID "faulty_c"
#endif
#ifndef NOTE_ID
#define NOTE_ID ID
#endif
#ifndef FUNCTION
#define FUNCTION create
#endif

#define IS(name) (FAULT == (name))
#define TEXT(literal) {literal, sizeof(literal) - 1}
#define MEBIBYTE 1048576
#define MOST_STATE (64 * MEBIBYTE) /* that the daemon keeps */
#define THREADS 4

__attribute__((used, aligned(4), section(BCD_NOTE_SECTION))) static const struct {
    uint32_t name_size, descriptor_size, type;
    char owner[12];
    bcd_note note;
} note = {sizeof(BCD_NOTE_OWNER), sizeof(bcd_note), BCD_NOTE_TYPE,
          {IS(NOTE_OTHER_OWNER) ? 'x' : 'b', 'r', 'o', 'a', 'd', 'c', 'a', 's', 't', 'd', 0, 0},
          {IS(NOTE_OTHER_MAJOR) ? 2u : 1u, 0u, IS(NOTE_ABORTS) ? 0u : 1u, NOTE_ID,
#define B (IS(NOTE_NOT_ENDED) ? (char)-1 : 0)
           {'1', '.', '0', B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B}}};

static const bcd_host_api *host_api;
static bcd_host *volatile stale; /* of an instance that was destroyed */
static volatile unsigned seen;   /* so that no read is left out */

struct bcd_instance {
    bcd_host *host;
};

/* ── Lending and being lent ───────────────────────────────────────────────────────────────────────────────────── */

/* A copy on the heap without an end, so that a reader that goes too far or comes too late is seen. */
static char *lent(const char *bytes, size_t len) {
    char *copy = malloc(len);
    if (copy == NULL) abort();
    return memcpy(copy, bytes, len);
}

static bcd_str text(const char *ptr, size_t len) {
    bcd_str str;
    str.ptr = ptr;
    str.len = len;
    return str;
}

static void read_all(const void *bytes, size_t len) {
    size_t i;
    for (i = 0; i < len; i++) seen += ((const unsigned char *)bytes)[i];
}

static void read_event(const bcd_event *event) {
    read_all(event, event->size);
    read_all(event->stream.ptr, event->stream.len);
    read_all(event->topic.ptr, event->topic.len);
    read_all(event->type.ptr, event->type.len);
    read_all(event->key.ptr, event->key.len);
    read_all(event->audience.ptr, event->audience.len);
    read_all(event->session_id.ptr, event->session_id.len);
    read_all(event->payload.ptr, event->payload.len);
    read_all(event->principal.ptr, event->principal.len);
}

/* ── What it publishes ────────────────────────────────────────────────────────────────────────────────────────── */

typedef struct larger_message {
    bcd_msg known;
    uint64_t added[4];
} larger_message;

static size_t message_size(void) {
    if (IS(MESSAGE_SIZE_LARGER)) return sizeof(larger_message);
    if (IS(MESSAGE_SIZE_OLDER)) return offsetof(bcd_msg, unix_ns);
    return sizeof(bcd_msg);
}

static int64_t publish(bcd_host *host) {
    static const char kind[] = "fault", key[] = "current", payload[] = "{\"fault\":true}", nul[] = "a\0b";
    size_t size = message_size(), count = 2, stride = size;
    char *lent_kind = lent(kind, sizeof kind - 1), *lent_key = lent(key, sizeof key - 1);
    char *lent_payload = lent(payload, sizeof payload - 1), *lent_nul = lent(nul, sizeof nul - 1);
    char *messages = calloc(2, size);
    larger_message made;
    int64_t taken;
    if (messages == NULL) abort();
    memset(&made, 0, sizeof made);
    made.known.size = (uint32_t)size;
    made.known.type = text(lent_kind, sizeof kind - 1);
    made.known.key = text(lent_key, sizeof key - 1);
    made.known.payload.ptr = (const uint8_t *)lent_payload;
    made.known.payload.len = sizeof payload - 1;
    memcpy(messages, &made, size);
    if (IS(MESSAGE_SIZE_ZERO)) made.known.size = 0;
    if (IS(MESSAGE_SIZE_TINY)) made.known.size = 3;
    if (IS(MESSAGE_SIZE_HUGE)) made.known.size = 65536;
    if (IS(NULL_TEXT)) made.known.topic = text(NULL, 5);
    if (IS(HUGE_TEXT)) made.known.topic = text(lent_key, (size_t)-1);
    if (IS(BAD_TEXT)) made.known.topic = text("\xff\xfe", 2);
    if (IS(NUL_TEXT)) made.known.type = text(lent_nul, sizeof nul - 1);
    if (IS(BAD_JSON)) made.known.payload.len--;
    memcpy(messages + size, &made, size);
    if (IS(STRIDE_ZERO)) stride = 0;
    if (IS(STRIDE_TINY)) stride = 8;
    if (IS(STRIDE_HUGE)) stride = (size_t)-1 / 2;
    if (IS(COUNT_HUGE)) count = (size_t)-1;
    taken = host_api->publish(host, IS(NULL_MESSAGES) ? NULL : (const bcd_msg *)messages, count, stride);
    free(messages);
    free(lent_kind);
    free(lent_key);
    free(lent_payload);
    free(lent_nul);
    return taken;
}

/* ── What else it calls ───────────────────────────────────────────────────────────────────────────────────────── */

/* Every function, with this for every text; how many of those that can did not answer `expected`. */
static int call_everything(bcd_host *host, bcd_str any, bcd_status expected) {
    bcd_bytes bytes;
    int others = 0;
    bytes.ptr = (const uint8_t *)any.ptr;
    bytes.len = any.len;
    host_api->log(host, BCD_LOG_DEBUG, any, any);
    host_api->log_level(host);
    host_api->fail(host, BCD_E_FAILED, any, any);
    others += host_api->publish(host, NULL, 1, sizeof(bcd_msg)) != expected;
    others += host_api->demand(host, any) != expected;
    others += host_api->timer_set(host, 2, 3600000000000, 0) != expected;
    others += host_api->timer_clear(host, 2) != expected;
    others += host_api->wake(host) != expected;
    others += host_api->metric_open(host, BCD_METRIC_GAUGE, any, any, any) != expected;
    host_api->metric_record(host, 1, 1);
    others += host_api->reply(host, 1, BCD_OK, bytes) != expected;
    host_api->health(host, BCD_HEALTH_OK, any);
    host_api->now_mono_ns(host);
    host_api->now_unix_ns(host);
    host_api->extension(host, any);
    return others;
}

static void call_with(bcd_host *host, const char *bytes, size_t len) {
    call_everything(host, text(bytes, len), BCD_E_INVALID);
    host_api->health(host, BCD_HEALTH_DEGRADED, text(bytes, len));
}

static void log_endlessly(bcd_host *host) {
    char *line = malloc(MEBIBYTE);
    if (line == NULL) return;
    memset(line, 0xff, MEBIBYTE);
    host_api->log(host, 4711, text(line, MEBIBYTE), text(line, MEBIBYTE));
    free(line);
}

static void record_wrongly(bcd_host *host) {
    static const bcd_str empty = {NULL, 0};
    host_api->metric_open(host, 99, text("kind", 4), empty, text("{}", 2));
    host_api->metric_open(host, BCD_METRIC_COUNTER, text("no name!", 8), empty, text("{}", 2));
    host_api->metric_open(host, BCD_METRIC_COUNTER, text("labels", 6), empty, text("[1]", 3));
    host_api->metric_record(host, -1, 1);
    host_api->metric_record(host, INT64_MAX, 1);
}

static void *run(void *host) {
    struct timespec pause = {0, 1000000};
    for (;;) {
        call_everything(host, text("work", 4), BCD_OK);
        if (publish(host) == BCD_E_CLOSED && !IS(AFTER_DESTROY)) return NULL;
        nanosleep(&pause, NULL);
    }
}

/* Says through a handle that is good how many calls through one that is not were not refused. */
static void try_stale(bcd_host *host) {
    char line[64];
    if (host_api->wake(stale) != BCD_E_CLOSED) return; /* that destroy has not returned yet */
    int len = snprintf(line, sizeof line, "%d calls were not refused", call_everything(stale, text("x", 1), BCD_E_CLOSED));
    host_api->log(host, BCD_LOG_INFO, text(NULL, 0), text(line, (size_t)len));
}

/* ── What the host calls ──────────────────────────────────────────────────────────────────────────────────────── */

static bcd_status create(bcd_host *host, bcd_str settings, bcd_instance **instance) {
    read_all(settings.ptr, settings.len);
    if (IS(NO_INSTANCE)) return BCD_OK;
    *instance = malloc(sizeof **instance);
    if (*instance == NULL) return BCD_E_LIMIT;
    (*instance)->host = host;
    return BCD_OK;
}

static bcd_status start(bcd_instance *self) {
    pthread_t thread;
    int i;
    for (i = 0; i < THREADS && (IS(FOREIGN_THREADS) || IS(AFTER_DESTROY)); i++)
        if (pthread_create(&thread, NULL, run, self->host) == 0) pthread_detach(thread);
    return host_api->timer_set(self->host, 1, IS(NEGATIVE_TIMER) ? -1 : 10000000, 10000000);
}

static void timer(bcd_host *host) {
    static const bcd_bytes nothing = {NULL, 0};
    publish(host);
    if (IS(ABORT)) abort();
    if (IS(NULL_HANDLE)) call_everything(NULL, text("x", 1), BCD_E_CLOSED);
    if (IS(WRONG_HANDLE)) call_everything((bcd_host *)(uintptr_t)0xdead, text("x", 1), BCD_E_CLOSED);
    if (IS(NULL_ARGUMENTS)) call_with(host, NULL, 5);
    if (IS(HUGE_ARGUMENTS)) call_with(host, "x", (size_t)-1);
    if (IS(BAD_ARGUMENTS)) call_with(host, "\xff\xfe", 2);
    if (IS(REPLY_TO_NOBODY)) host_api->reply(host, 4711, BCD_OK, nothing);
    if (IS(ENDLESS_LOG)) log_endlessly(host);
    if (IS(WRONG_METRICS)) record_wrongly(host);
    if (stale != NULL) try_stale(host);
    if (IS(OWN_OVERFLOW)) {
        char *own = malloc(8);
        if (own != NULL) ((volatile char *)own)[8] = 1;
        free(own);
    }
}

static bcd_status reply(bcd_host *host, uint64_t request, bcd_status status, const char *ptr, size_t len) {
    char *lent_payload = ptr == NULL ? NULL : lent(ptr, len);
    bcd_bytes payload;
    bcd_status taken;
    payload.ptr = (const uint8_t *)lent_payload;
    payload.len = len;
    taken = host_api->reply(host, request, status, payload);
    free(lent_payload);
    return taken;
}

typedef struct asked {
    bcd_host *host;
    uint64_t request;
} asked;

static void *reply_elsewhere(void *context) {
    asked *one = context;
    reply(one->host, one->request, BCD_OK, NULL, 0);
    free(one);
    return NULL;
}

static void reply_from_thread(bcd_host *host, uint64_t request) {
    pthread_t thread;
    asked *one = malloc(sizeof *one);
    if (one == NULL) abort();
    one->host = host;
    one->request = request;
    if (pthread_create(&thread, NULL, reply_elsewhere, one) == 0) pthread_detach(thread);
}

static void reply_hugely(bcd_host *host, uint64_t request) {
    char *text = malloc(MEBIBYTE + 1);
    if (text == NULL) abort();
    memset(text, '1', MEBIBYTE + 1);
    reply(host, request, BCD_OK, text, MEBIBYTE + 1);
    free(text);
}

static void command(bcd_host *host, uint64_t request) {
    if (IS(REPLY_FROM_THREAD)) {
        reply_from_thread(host, request);
        return;
    }
    if (IS(REPLY_TO_OTHERS)) {
        reply(host, request - 1, BCD_OK, "1", 1);
        reply(host, request + 1, BCD_OK, "1", 1);
    }
    if (IS(REPLY_GARBAGE)) reply(host, request, BCD_OK, "\xff{", 2);
    if (IS(REPLY_NULL)) reply(host, request, BCD_OK, NULL, 5);
    if (IS(REPLY_HUGE)) reply_hugely(host, request);
    if (IS(REPLY_ODD_STATUS)) reply(host, request, -4711, "\xff{", 2);
    if (IS(REPLY_TWICE)) reply(host, request, BCD_OK, NULL, 0);
    reply(host, request, BCD_OK, NULL, 0);
}

static bcd_status on_events(bcd_instance *self, const bcd_event *events, size_t count, size_t stride) {
    for (; count > 0; count--, events = (const bcd_event *)((const char *)events + stride)) {
        read_event(events);
        if (events->kind == BCD_EVENT_TIMER) timer(self->host);
        if (events->kind == BCD_EVENT_COMMAND) command(self->host, events->id);
    }
    return IS(ODD_STATUS) ? -4711 : BCD_OK;
}

static bcd_status save_state(bcd_instance *self, const bcd_writer *writer) {
    static const uint8_t zeros[MEBIBYTE];
    size_t written = 0;
    (void)self;
    if (IS(SAVE_NULL)) writer->write(writer->context, NULL, 8);
    while ((IS(SAVE_LARGEST) || IS(SAVE_LARGER)) && written < MOST_STATE) {
        writer->write(writer->context, zeros, sizeof zeros);
        written += sizeof zeros;
    }
    if (IS(SAVE_LARGER)) writer->write(writer->context, zeros, 1);
    while (IS(SAVE_ENDLESS) && writer->write(writer->context, zeros, sizeof zeros) == BCD_OK) continue;
    return BCD_OK;
}

static bcd_status restore_state(bcd_instance *self, uint32_t from_version, bcd_bytes state) {
    (void)self;
    (void)from_version;
    read_all(state.ptr, state.len);
    return BCD_OK;
}

static void destroy(bcd_instance *self) {
    stale = self->host;
    free(self);
}

BCD_EXPORT const bcd_plugin_api *broadcastd_plugin_v1(const bcd_host_api *api, bcd_host *loader) {
    static struct {
        bcd_plugin_api known;
        void *added[4];
    } table = {{sizeof(bcd_plugin_api), BCD_ABI_MINOR, TEXT(ID), TEXT("1.0.0"), TEXT("Breaks the rules"),
                TEXT("{\"type\":\"object\",\"additionalProperties\":true}"), TEXT("{\"view\":\"log\",\"kinds\":{\"fault\":{\"schema\":true,\"collection\":\"faults\"}},"
                     "\"commands\":{\"ask\":{\"schema\":true,\"permission\":\"ask\"}}}"),
                1, 0, NULL, create, start, on_events, save_state, restore_state, NULL, destroy, NULL, NULL}, {0}};
    host_api = api;
    if (api->size < sizeof *api && !IS(BEYOND_TABLE)) return NULL; /* one of an earlier minor: no word is left for it */
    while (IS(HANG_IN_ENTRY)) nanosleep(&(struct timespec){1, 0}, NULL);
    if (IS(NULL_TABLE) || IS(NULL_REASON)) {
        host_api->fail(loader, BCD_E_FAILED, text(NULL, 0), IS(NULL_REASON) ? text(NULL, 20) : text("no table, on purpose", 20));
        return NULL;
    }
    if (IS(TABLE_SIZE_ZERO)) table.known.size = 0;
    if (IS(TABLE_SIZE_TINY)) table.known.size = offsetof(bcd_plugin_api, create);
    if (IS(TABLE_SIZE_LARGER)) table.known.size = sizeof table;
    if (IS(NULL_FUNCTIONS)) memset(&table.known.validate, 0, sizeof table.known - offsetof(bcd_plugin_api, validate));
    if (IS(NULL_FUNCTION)) table.known.FUNCTION = NULL;
    if (IS(NULL_OPTIONAL)) table.known.start = NULL;
    if (IS(BAD_ID)) table.known.id = text("\xff", 1);
    if (IS(NULL_ID)) table.known.id = text(NULL, 8);
    if (IS(BAD_SCHEMA)) table.known.config_schema = text("{", 1);
    if (IS(BAD_STREAM)) table.known.stream = text("no", 2);
    return &table.known;
}
