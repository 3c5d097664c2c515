/* my_plugin: counts, and tells the count. A plugin to begin with; the contract is broadcastd_plugin.h. */
#include "broadcastd_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MILLISECOND INT64_C(1000000)
#define COUNT_TIMER 1
#define TEXT(literal) {literal, sizeof(literal) - 1}

BCD_PLUGIN_NOTE("my_plugin", "0.1.0");

/* What `settings` in config.toml may say. The daemon checks it and fills in defaults before create() sees it. */
#define SCHEMA                                                                                                        \
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"                                            \
    "\"every_ms\":{\"description\":\"The pause between two counts, in milliseconds.\","                               \
    "\"type\":\"integer\",\"minimum\":1,\"maximum\":3600000,\"default\":1000}}}"

/* What it publishes: one kind, whose newest event a client that comes later is shown first. */
#define STREAM                                                                                                        \
    "{\"view\":\"log\",\"kinds\":{\"count\":{\"collection\":\"counts\",\"schema\":{\"type\":\"object\","              \
    "\"required\":[\"count\"],\"properties\":{\"count\":{\"type\":\"integer\",\"minimum\":0}}}}}}"

static const bcd_host_api *host_api;

/* One broadcaster. */
struct bcd_instance {
    bcd_host *host;
    int64_t every_ms;
    uint64_t count;
};

static bcd_str text(const char *ptr) {
    bcd_str str;
    str.ptr = ptr;
    str.len = strlen(ptr);
    return str;
}

static bcd_status fail(bcd_host *host, const char *pointer, const char *message) {
    host_api->fail(host, BCD_E_INVALID, text(pointer), text(message));
    return BCD_E_INVALID;
}

/* The number behind `"every_ms":`. The schema lets nothing else through, so that this is all there is to read; a plugin
 * with more settings brings a JSON parser. */
static int64_t read_every_ms(bcd_str settings) {
    char copy[64];
    const char *found;
    size_t len = settings.len < sizeof copy - 1 ? settings.len : sizeof copy - 1;
    if (len > 0) memcpy(copy, settings.ptr, len);
    copy[len] = 0;
    found = strchr(copy, ':');
    return found == NULL ? 1000 : strtoll(found + 1, NULL, 10);
}

static bcd_status create(bcd_host *host, bcd_str settings, bcd_instance **instance) {
    bcd_instance *self = calloc(1, sizeof *self);
    if (self == NULL) return fail(host, "", "no memory");
    self->host = host;
    self->every_ms = read_every_ms(settings);
    if (self->every_ms < 1 || self->every_ms > 3600000) {
        free(self);
        return fail(host, "/every_ms", "give a number from 1 to 3600000");
    }
    *instance = self;
    return BCD_OK;
}

static bcd_status start(bcd_instance *self) {
    int64_t every_ns = self->every_ms * MILLISECOND;
    return host_api->timer_set(self->host, COUNT_TIMER, every_ns, every_ns);
}

static void publish(const bcd_instance *self, uint32_t flags) {
    char payload[40];
    bcd_msg message;
    memset(&message, 0, sizeof message);
    message.size = sizeof message;
    message.flags = flags;
    message.type = text("count");
    message.key = text("current");
    message.payload.ptr = (const uint8_t *)payload;
    message.payload.len = (size_t)snprintf(payload, sizeof payload, "{\"count\":%" PRIu64 "}", self->count);
    host_api->publish(self->host, &message, 1, sizeof message); /* full now? the next one is newer anyway */
}

/* Everything that happens arrives here, one call at a time. Unknown kinds are ignored. */
static bcd_status on_events(bcd_instance *self, const bcd_event *events, size_t count, size_t stride) {
    for (; count > 0; count--, events = (const bcd_event *)((const char *)events + stride)) {
        if (events->kind == BCD_EVENT_TIMER && events->id == COUNT_TIMER) {
            self->count++;
            publish(self, BCD_MSG_LATEST);
        } else if (events->kind == BCD_EVENT_RECORDS) {
            publish(self, BCD_MSG_RECORD_ONLY);
        }
    }
    return BCD_OK;
}

static bcd_status save_state(bcd_instance *self, const bcd_writer *writer) {
    char state[24];
    int len = snprintf(state, sizeof state, "%" PRIu64, self->count);
    return writer->write(writer->context, (const uint8_t *)state, (size_t)len);
}

static bcd_status restore_state(bcd_instance *self, uint32_t from_version, bcd_bytes state) {
    char copy[24];
    char *end;
    if (from_version != 1) return fail(self->host, "", "state of another version");
    if (state.len == 0 || state.len >= sizeof copy) return fail(self->host, "", "state that is no count");
    memcpy(copy, state.ptr, state.len);
    copy[state.len] = 0;
    self->count = strtoull(copy, &end, 10);
    return *end == 0 ? BCD_OK : fail(self->host, "", "state that is no count");
}

static void destroy(bcd_instance *self) { free(self); }

/* A host of an earlier minor has a shorter table: what lies beyond its size is not there. */
#define HAS(function)                                                                                                 \
    (host_api->size >= offsetof(bcd_host_api, function) + sizeof host_api->function && host_api->function != NULL)

BCD_EXPORT const bcd_plugin_api *broadcastd_plugin_v1(const bcd_host_api *host, bcd_host *loader);

BCD_EXPORT const bcd_plugin_api *broadcastd_plugin_v1(const bcd_host_api *host, bcd_host *loader) {
    static const bcd_plugin_api api = {
        sizeof api, BCD_ABI_MINOR, TEXT("my_plugin"), TEXT("0.1.0"), TEXT("Counts"), TEXT(SCHEMA), TEXT(STREAM),
        1, 0, /* the version of its state */
        NULL, create, start, on_events, save_state, restore_state, NULL, destroy, NULL, NULL};
    host_api = host;
    if (!HAS(fail)) return NULL;
    if (!HAS(publish) || !HAS(timer_set)) {
        fail(loader, "", "this daemon is too old for it");
        return NULL;
    }
    return &api;
}
