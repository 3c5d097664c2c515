/* hello: the smallest plugin. Publishes {"greeting": …, "count": …} once a second and keeps the count over restarts.
 * How to build and configure it: README.md. The contract: broadcastd_plugin.h. */
#include "broadcastd_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define TEXT(literal) {literal, sizeof(literal) - 1}
#define HAS(function) (host_api->size >= offsetof(bcd_host_api, function) + sizeof host_api->function && host_api->function)

BCD_PLUGIN_NOTE("hello", "1.0.0");

static const bcd_host_api *host_api;

typedef struct hello {
    bcd_host *host;
    uint64_t count;
    char greeting[200]; /* as it stands between the quotes of the settings' JSON: it goes out as JSON again */
} hello;

static bcd_str text(const char *ptr, size_t len) {
    bcd_str str;
    str.ptr = ptr;
    str.len = len;
    return str;
}

static bcd_status fail(bcd_host *host, const char *pointer, const char *message) {
    host_api->fail(host, BCD_E_INVALID, text(pointer, strlen(pointer)), text(message, strlen(message)));
    return BCD_E_INVALID;
}

/* The schema lets through one key only, so the greeting is what stands between the third quote and the last. */
static bcd_status create(bcd_host *host, bcd_str settings, bcd_instance **instance) {
    const char *from = settings.ptr, *end = settings.ptr + settings.len;
    int quotes;
    hello *self = calloc(1, sizeof *self);
    if (self == NULL) return fail(host, "", "no memory");
    self->host = host;
    for (quotes = 0; from < end && quotes < 3; from++) quotes += *from == '"';
    while (end > from && end[-1] != '"') end--;
    if (quotes < 3) {
        strcpy(self->greeting, "hello");
    } else if ((size_t)(end - from) > sizeof self->greeting) {
        free(self);
        return fail(host, "/greeting", "too long: at most 199 bytes");
    } else {
        memcpy(self->greeting, from, (size_t)(end - 1 - from));
    }
    *instance = (bcd_instance *)self;
    return BCD_OK;
}

static bcd_status start(bcd_instance *instance) {
    return host_api->timer_set(((hello *)instance)->host, 1, SECOND, SECOND);
}

static void publish(const hello *self, uint32_t flags) {
    static const bcd_str kind = TEXT("hello"), key = TEXT("current");
    char payload[300];
    bcd_msg message;
    memset(&message, 0, sizeof message);
    message.size = sizeof message;
    message.flags = flags;
    message.type = kind;
    message.key = key;
    message.payload.ptr = (const uint8_t *)payload;
    message.payload.len = (size_t)snprintf(payload, sizeof payload, "{\"greeting\":\"%s\",\"count\":%" PRIu64 "}",
                                           self->greeting, self->count);
    host_api->publish(self->host, &message, 1, sizeof message); /* full now? the next one is newer anyway */
}

static bcd_status on_events(bcd_instance *instance, const bcd_event *events, size_t count, size_t stride) {
    hello *self = (hello *)instance;
    for (; count > 0; count--, events = (const bcd_event *)((const char *)events + stride)) {
        if (events->kind == BCD_EVENT_TIMER) {
            self->count++;
            publish(self, BCD_MSG_LATEST);
        } else if (events->kind == BCD_EVENT_RECORDS && self->count > 0) {
            publish(self, BCD_MSG_RECORD_ONLY);
        }
    }
    return BCD_OK;
}

static bcd_status save_state(bcd_instance *instance, const bcd_writer *writer) {
    char state[24];
    int len = snprintf(state, sizeof state, "%" PRIu64, ((hello *)instance)->count);
    return writer->write(writer->context, (const uint8_t *)state, (size_t)len);
}

static bcd_status restore_state(bcd_instance *instance, uint32_t from_version, bcd_bytes state) {
    hello *self = (hello *)instance;
    size_t i;
    if (from_version != 1) return fail(self->host, "", "state of another version");
    for (i = 0; i < state.len && state.ptr[i] >= '0' && state.ptr[i] <= '9'; i++)
        self->count = self->count * 10 + (uint64_t)(state.ptr[i] - '0');
    return BCD_OK;
}

static void destroy(bcd_instance *instance) { free(instance); }

BCD_EXPORT const bcd_plugin_api *broadcastd_plugin_v1(const bcd_host_api *host, bcd_host *loader) {
    static const bcd_plugin_api api = {sizeof api, BCD_ABI_MINOR, TEXT("hello"), TEXT("1.0.0"), TEXT("Says hello once a second"),
        TEXT("{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"greeting\":{\"type\":\"string\",\"default\":\"hello\"}}}"),
        TEXT("{\"view\":\"log\",\"kinds\":{\"hello\":{\"collection\":\"greetings\",\"schema\":{\"type\":\"object\","
             "\"required\":[\"greeting\",\"count\"],\"properties\":{\"greeting\":{\"type\":\"string\"},\"count\":{\"type\":\"integer\"}}}}}}"),
        1, 0, NULL, create, start, on_events, save_state, restore_state, NULL, destroy, NULL, NULL};
    host_api = host;
    (void)loader;
    return HAS(fail) && HAS(publish) && HAS(timer_set) ? &api : NULL;
}
