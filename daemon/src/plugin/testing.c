/* A plugin for the tests of the daemon: does what its settings and its inputs say, mistakes included.
 * Built by the tests with -DID -DVERSION and, where a test wants it, further definitions. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broadcastd_plugin.h"

#ifndef NOTE_ID
#define NOTE_ID ID
#endif
#ifndef STREAM
#define STREAM "{\"template\":\"{what}\",\"kinds\":{\"n\":{\"schema\":{},\"collection\":\"all\"}}}"
#endif

#ifdef ABI_MAJOR
#undef BCD_ABI_MAJOR
#define BCD_ABI_MAJOR ABI_MAJOR
#endif
#ifdef WITH_NOTE
BCD_PLUGIN_NOTE(NOTE_ID, VERSION);
#endif

#define TEXT(text) ((bcd_str){(text), sizeof(text) - 1})

struct bcd_instance {
    bcd_host *host;
    uint64_t n;
    int owes; /* a number that found no room */
    int64_t again, writable;
    char settings[256];
};

static const bcd_host_api *api;
static bcd_host *stale;
static int failed_once, made_once, kept_back_once;

static bcd_str str(const char *text) { return (bcd_str){text, strlen(text)}; }

static int contains(bcd_bytes where, const char *what) {
    return where.len && memmem(where.ptr, where.len, what, strlen(what)) != NULL;
}

static int64_t say(bcd_instance *self, const char *kind, const char *payload, uint32_t flags, const bcd_event *cause) {
    bcd_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.size = sizeof msg;
    msg.flags = flags;
    msg.type = str(kind);
    msg.topic = TEXT("A");
    if (strcmp(kind, "n") == 0) msg.key = TEXT("k");
    msg.payload = (bcd_bytes){(const uint8_t *)payload, strlen(payload)};
    if (cause) {
        msg.cause_seq = cause->seq;
        msg.cause_stream = cause->stream;
        msg.cause_epoch = cause->epoch;
    }
    return api->publish(self->host, &msg, 1, sizeof msg);
}

static int64_t say_n(bcd_instance *self, uint32_t flags, const bcd_event *cause) {
    char payload[64];
    snprintf(payload, sizeof payload, "{\"n\":%llu}", (unsigned long long)self->n);
    return say(self, "n", payload, flags, cause);
}

/* Opens metrics and records into them. */
static void count_early(bcd_host *host) {
    api->metric_record(host, api->metric_open(host, BCD_METRIC_COUNTER, TEXT("early_total"), TEXT(""), TEXT("")), 1);
    api->metric_record(host, api->metric_open(host, BCD_METRIC_GAUGE, TEXT("early"), TEXT(""), TEXT("")), 7);
    api->metric_bounds(host, TEXT("early_seconds"), TEXT("[1,2]"));
    api->metric_record(host, api->metric_open(host, BCD_METRIC_HISTOGRAM, TEXT("early_seconds"), TEXT(""), TEXT("")), 1.5);
}

static bcd_status create(bcd_host *host, bcd_str settings, bcd_instance **out) {
#ifdef PANICS_IN_CREATE
    api->fail(host, BCD_E_PANIC, TEXT(""), TEXT("panicked at create"));
    return BCD_E_PANIC;
#endif
#ifdef ABORTS_IN_CREATE
    abort();
#endif
#ifdef HANGS_IN_CREATE
    for (;;) sleep(1);
#endif
    bcd_instance *self = calloc(1, sizeof *self);
    self->host = host;
    snprintf(self->settings, sizeof self->settings, "%.*s", (int)settings.len, settings.ptr);
    if (strstr(self->settings, "early")) count_early(host);
    if (strstr(self->settings, "refused")) {
        api->fail(host, BCD_E_INVALID, TEXT("/mode"), TEXT("\"refused\" is refused"));
        free(self);
        return BCD_E_INVALID;
    }
    if (strstr(self->settings, "only once") && made_once++) {
        api->fail(host, BCD_E_FAILED, TEXT(""), TEXT("one was made already"));
        free(self);
        return BCD_E_FAILED;
    }
    *out = self;
    return BCD_OK;
}

static bcd_status validate(bcd_host *host, bcd_str settings) {
    bcd_bytes text = {(const uint8_t *)settings.ptr, settings.len};
    if (contains(text, "odd")) api->fail(host, BCD_OK, TEXT("/mode"), TEXT("\"odd\" is odd"));
    if (!contains(text, "unwise")) return BCD_OK;
    api->fail(host, BCD_E_INVALID, TEXT("/mode"), TEXT("\"unwise\" is not wise"));
    return BCD_E_INVALID;
}

/* With more kinds, if the settings say so, and behind them as many blanks as they say. */
static bcd_status stream_with(bcd_host *host, bcd_str settings, const bcd_writer *writer) {
    static const char more[] = "{\"kinds\":{\"n\":{\"schema\":{}},\"m\":{\"schema\":{},\"collection\":\"more\"}}}";
    static const char blank[] = " ";
    char text[256];
    const char *said, *blanks;
    long left;
    snprintf(text, sizeof text, "%.*s", (int)settings.len, settings.ptr);
    if (strstr(text, "vague")) {
        api->fail(host, BCD_E_FAILED, TEXT("/mode"), TEXT("\"vague\" says nothing"));
        return BCD_E_FAILED;
    }
    said = strstr(text, "mute") ? "" : strstr(text, "more") ? more : STREAM;
    writer->write(writer->context, (const uint8_t *)said, strlen(said));
    blanks = strstr(text, "blanks ");
    for (left = blanks ? strtol(blanks + strlen("blanks "), NULL, 10) - (long)strlen(said) : 0; left > 0; left--)
        writer->write(writer->context, (const uint8_t *)blank, 1);
    return BCD_OK;
}

/* Hangs until the file is there whose path the settings name behind the word. */
static void linger(const bcd_instance *self, const char *word) {
    char until[200];
    const char *path = strstr(self->settings, word);
    if (!path) return;
    path += strlen(word);
    snprintf(until, sizeof until, "%.*s", (int)strcspn(path, "\""), path);
    while (access(until, F_OK) != 0) usleep(500);
}

static bcd_status start(bcd_instance *self) {
    linger(self, "start at ");
    int64_t metric = api->metric_open(self->host, BCD_METRIC_COUNTER, TEXT("starts_total"), TEXT("Starts."), TEXT("{}"));
    api->metric_record(self->host, metric, 1);
    self->again = api->metric_open(self->host, BCD_METRIC_COUNTER, TEXT("again_total"), TEXT("Refusals."), TEXT("{}"));
    self->writable = api->metric_open(self->host, BCD_METRIC_COUNTER, TEXT("writable_total"), TEXT("Room."), TEXT("{}"));
    if (strstr(self->settings, "tick")) api->timer_set(self->host, 1, 1000000000, 1000000000);
    return BCD_OK;
}

/* The next number, now or when there is room. */
static void count_on(bcd_instance *self) {
    self->n++;
    self->owes = say_n(self, 0, NULL) == BCD_E_AGAIN;
    if (!self->owes) return;
    self->n--;
    api->metric_record(self->host, self->again, 1);
}

static bcd_status input(bcd_instance *self, const bcd_event *event) {
    if (contains(event->payload, "poison")) {
        api->fail(self->host, BCD_E_FAILED, TEXT(""), TEXT("poisoned"));
        return BCD_E_FAILED;
    }
#ifdef BREAKS_AT
    if (contains(event->payload, BREAKS_AT)) return BCD_E_PANIC;
#endif
    if (contains(event->payload, "once") && !failed_once) {
        failed_once = 1;
        return BCD_E_PANIC;
    }
    if (contains(event->payload, "hang")) {
        char path[200];
        const char *at = memmem(event->payload.ptr, event->payload.len, "/", 1);
        const char *end = memchr(at, '"', (const char *)event->payload.ptr + event->payload.len - at);
        snprintf(path, sizeof path, "%.*s", (int)(end - at), at);
        while (access(path, F_OK) != 0) usleep(500);
    }
    if (contains(event->payload, "garbage")) say(self, "n", "[1", 0, NULL);
    if (contains(event->payload, "stale") && stale) {
        bcd_instance ghost = {.host = stale};
        char payload[64];
        snprintf(payload, sizeof payload, "{\"stale\":%lld}", (long long)say_n(&ghost, 0, NULL));
        say(self, "said", payload, 0, NULL);
    }
    self->n++;
    return say_n(self, 0, event) >= 0 ? BCD_OK : BCD_E_FAILED;
}

static bcd_status on_events(bcd_instance *self, const bcd_event *events, size_t count, size_t stride) {
    for (size_t i = 0; i < count; i++) {
        const bcd_event *event = (const bcd_event *)((const char *)events + i * stride);
        char payload[200];
        bcd_status status = BCD_OK;
        switch (event->kind) {
        case BCD_EVENT_TIMER:
            count_on(self);
            break;
        case BCD_EVENT_MESSAGE:
            status = input(self, event);
            break;
        case BCD_EVENT_RECORDS:
            if (strstr(self->settings, "keep back") && self->n && !kept_back_once++) return BCD_E_FAILED;
            say_n(self, BCD_MSG_RECORD_ONLY, NULL);
            snprintf(payload, sizeof payload, "{\"n\":%llu}", (unsigned long long)self->n);
            if (strstr(self->settings, "tell")) say(self, "records", payload, 0, NULL);
            break;
        case BCD_EVENT_DEMAND:
            snprintf(payload, sizeof payload, "{\"topic\":\"%.*s\",\"value\":%lld}", (int)event->topic.len,
                     event->topic.len ? event->topic.ptr : "", (long long)event->value);
            if (strstr(self->settings, "demand")) say(self, "demand", payload, 0, NULL);
            break;
        case BCD_EVENT_GAP:
            snprintf(payload, sizeof payload, "{\"from\":%llu,\"to\":%llu}", (unsigned long long)event->id,
                     (unsigned long long)event->seq);
            say(self, "gap", payload, 0, NULL);
            break;
        case BCD_EVENT_WRITABLE:
            api->metric_record(self->host, self->writable, 1);
            if (self->owes) count_on(self);
            break;
        case BCD_EVENT_QUIESCE:
            if (strstr(self->settings, "last words")) say(self, "last_words", "{}", 0, NULL);
            break;
        }
        if (status != BCD_OK) return status;
    }
    return BCD_OK;
}

static bcd_status save_state(bcd_instance *self, const bcd_writer *writer) {
    return writer->write(writer->context, (const uint8_t *)&self->n, sizeof self->n);
}

static bcd_status restore_state(bcd_instance *self, uint32_t from_version, bcd_bytes state) {
#ifdef HANGS_IN_RESTORE
    for (;;) sleep(1);
#endif
#ifdef REFUSE_STATE
    api->fail(self->host, BCD_E_INVALID, TEXT(""), TEXT("state of version 1 is too old"));
    return BCD_E_INVALID;
#endif
    if (from_version != 1 || state.len != sizeof self->n) return BCD_E_INVALID;
    memcpy(&self->n, state.ptr, sizeof self->n);
    return BCD_OK;
}

static bcd_status reconfigure(bcd_instance *self, bcd_str settings) {
    bcd_bytes text = {(const uint8_t *)settings.ptr, settings.len};
    if (contains(text, "another")) return BCD_E_UNSUPPORTED;
    if (contains(text, "wrong")) {
        api->fail(self->host, BCD_E_INVALID, TEXT("/mode"), TEXT("\"wrong\" is wrong"));
        return BCD_E_INVALID;
    }
    snprintf(self->settings, sizeof self->settings, "%.*s", (int)settings.len, settings.ptr);
    return BCD_OK;
}

static void destroy(bcd_instance *self) {
    linger(self, "linger ");
    stale = self->host;
    free(self);
}

#ifndef WITHOUT_ENTRY
static const bcd_plugin_api table = {
#ifdef SIZE
    SIZE,
#else
    sizeof(bcd_plugin_api),
#endif
    BCD_ABI_MINOR,
    {ID, sizeof(ID) - 1},
    {VERSION, sizeof(VERSION) - 1},
    {"", 0},
    {"{}", 2},
    {STREAM, sizeof(STREAM) - 1},
    1,
    0,
    validate,
    create,
    start,
    on_events,
    save_state,
    restore_state,
    reconfigure,
    destroy,
    NULL,
    stream_with,
};

BCD_EXPORT const bcd_plugin_api *broadcastd_plugin_v1(const bcd_host_api *host_api, bcd_host *loader) {
    api = host_api;
#ifdef REFUSE_LOAD
    api->fail(loader, BCD_E_FAILED, TEXT(""), TEXT("not today"));
    return NULL;
#endif
    (void)loader;
    return &table;
}
#endif
