/* broadcastd_plugin.h: the border between broadcastd and its plugins, ABI 1.0.
 *
 * A plugin is a dynamic library that exports one function, broadcastd_plugin_v1, and carries one ELF note,
 * .note.broadcastd (see BCD_NOTE_* below). A broadcaster is one running instance of a plugin.
 *
 * Rules
 *  R1 Growth.  Every struct that can grow starts with `size`, as its writer compiled it. Within major 1, fields are
 *              only appended. A reader uses what lies below the writer's size; a NULL function is absent.
 *  R2 Arrays   of growing structs travel with their stride in bytes.
 *  R3 Memory   is borrowed for the call: the callee copies what it keeps. Results go back through a bcd_writer.
 *              Nothing allocated on one side is freed on the other.
 *  R4 Threads. The host calls an instance from one dedicated thread, never concurrently. Host functions may be called
 *              from any thread until destroy has returned; afterwards they answer BCD_E_CLOSED.
 *  R5 No waiting. A host function enqueues, or answers from local state; it never waits for the daemon.
 *  R6 No unwinding crosses. A plugin catches its own panics or exceptions and answers BCD_E_PANIC; the instance is
 *              then destroyed, and restarted from its last saved state.
 *  R7 Text     is UTF-8 with a length, not terminated. Settings and payloads are JSON.
 *  R8 Unknown  event kinds, flags and extension ids are ignored.
 *  R9 Nothing shared: no async runtime, logger, metrics registry or allocator. A plugin leaves signals, locale,
 *              working directory, environment and standard streams of the process alone.
 */
#ifndef BROADCASTD_PLUGIN_H
#define BROADCASTD_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BCD_ABI_MAJOR 1u
#define BCD_ABI_MINOR 0u

/* The one exported symbol; its name carries the major. */
#define BCD_ENTRY_SYMBOL "broadcastd_plugin_v1"

/* The ELF note: owner "broadcastd", type 1, descriptor a bcd_note. It is read before anything is executed. */
#define BCD_NOTE_SECTION ".note.broadcastd"
#define BCD_NOTE_OWNER "broadcastd"
#define BCD_NOTE_TYPE 1u
#define BCD_NOTE_ID_MAX 64u
#define BCD_NOTE_VERSION_MAX 32u

typedef struct bcd_note {
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t unwinds;                     /* 1: panics unwind and are caught (C plugins too); 0: they abort, refused */
    char id[BCD_NOTE_ID_MAX];             /* padded with NUL; `plugin = "spc"` in config.toml asks for id "spc" */
    char version[BCD_NOTE_VERSION_MAX];   /* padded with NUL */
} bcd_note;

/* Results. Negative values are failures. */
typedef int32_t bcd_status;
#define BCD_OK 0
#define BCD_E_AGAIN (-1)        /* full now; BCD_EVENT_WRITABLE follows when there is room */
#define BCD_E_INVALID (-2)      /* bad argument, settings or state */
#define BCD_E_CLOSED (-3)       /* the instance is destroyed or being replaced */
#define BCD_E_PANIC (-4)        /* the plugin panicked; the instance is poisoned */
#define BCD_E_FAILED (-5)       /* the plugin could not do it; see fail() */
#define BCD_E_UNSUPPORTED (-6)  /* this side does not know how */
#define BCD_E_LIMIT (-7)        /* a bound of the daemon was reached; fail() or the log says which */
/* For reply() only: why a command is refused. BCD_E_INVALID is one more. */
#define BCD_E_NOT_FOUND (-8)    /* what the command names does not exist */
#define BCD_E_CONFLICT (-9)     /* what it wants is at odds with how things are, such as to acknowledge twice */
#define BCD_E_FORBIDDEN (-10)   /* the principal may not do this */

typedef struct bcd_str {
    const char *ptr;   /* may be NULL when len is 0 */
    size_t len;        /* bytes */
} bcd_str;

typedef struct bcd_bytes {
    const uint8_t *ptr;
    size_t len;
} bcd_bytes;

/* Where the callee writes a result: may be called several times, each call appends; gone when the call returns. When a
 * write is refused there is no result, whatever the call answers. */
typedef struct bcd_writer {
    void *context;
    bcd_status (*write)(void *context, const uint8_t *bytes, size_t len);
} bcd_writer;

/* Opaque. bcd_host is a checked handle: a stale one is refused, never followed. */
typedef struct bcd_host bcd_host;
typedef struct bcd_instance bcd_instance;

/* ── What a broadcaster publishes ─────────────────────────────────────────────────────────────────────────────── */

#define BCD_MSG_LATEST 1u       /* a newer one of the same topic, kind and key may replace it in a waiting outbox */
#define BCD_MSG_DELETE 2u       /* removes the key's record */
#define BCD_MSG_RECORD_ONLY 4u  /* refreshes the record: takes a number, is neither delivered nor kept */
#define BCD_MSG_BROADCAST 8u    /* private streams: to every audience, for kinds that config.toml lists */

typedef struct bcd_msg {
    uint32_t size;
    uint32_t flags;
    bcd_str type;           /* the kind, `bar`; required */
    bcd_str topic;          /* the part after the stream, `AAPL:1`; empty = the root topic. `: * %` inside a part are
                               percent-encoded by the plugin */
    bcd_str key;            /* identity inside the topic; empty = leaves no record */
    bcd_bytes record;       /* JSON that a snapshot shows for the key; empty = the payload */
    bcd_str audience;       /* private streams: the user it is for */
    bcd_str session_id;     /* the clients' own trading session; empty = null */
    bcd_bytes payload;      /* JSON object */
    int64_t unix_ns;        /* when it happened; 0 = stamped by the host */
    /* The input that a message follows from. A restarted broadcaster is fed again what it had not saved: a message
     * whose cause was accepted before, in whatever order, is then accepted without effect. So an input that is handled
     * again must give its messages the ordinals that it gave them before: one that is left out this time keeps its
     * own. A cause older than the newest 32,768 inputs that led to messages is refused (BCD_E_INVALID). */
    uint64_t cause_seq;     /* the input's `seq`; 0 = none */
    uint32_t cause_ordinal; /* 0, 1, 2 … among the messages of that input */
    uint32_t reserved;
    bcd_str cause_stream;   /* the input's `stream` … */
    bcd_str cause_epoch;    /* … and `epoch`, for a message that outlives it in saved state, too */
} bcd_msg;

/* ── What a broadcaster is told ───────────────────────────────────────────────────────────────────────────────── */

#define BCD_EVENT_TIMER 1u     /* id: the timer */
#define BCD_EVENT_DEMAND 2u    /* topic: a topic or pattern of the own stream; value: subscriptions now (0 or more) */
#define BCD_EVENT_MESSAGE 3u   /* stream, topic, type, key, audience, session_id, payload, seq, epoch, unix_ns */
#define BCD_EVENT_GAP 4u       /* stream, epoch; inputs id … seq (both included) are gone; id 0: also what was left of
                                  an earlier life of the numbering, unless the daemon ended in order and all of it was
                                  handled. Told again until it was saved */
#define BCD_EVENT_RECORDS 5u   /* publish your records now (with BCD_MSG_RECORD_ONLY): they replace the whole set */
#define BCD_EVENT_COMMAND 6u   /* id: the request for reply(); type: the command; payload; principal: who asks;
                                  value: nanoseconds from mono_ns to the deadline */
#define BCD_EVENT_WAKE 7u      /* somebody called wake() */
#define BCD_EVENT_WRITABLE 8u  /* publish may be tried again after BCD_E_AGAIN */
#define BCD_EVENT_QUIESCE 9u   /* you are about to be replaced or stopped: publish what is due; save_state follows */
#define BCD_EVENT_STOP 10u     /* destroy follows */

typedef struct bcd_event {
    uint32_t size;
    uint32_t kind;        /* BCD_EVENT_*; unknown ones are ignored */
    uint32_t flags;       /* none yet */
    uint32_t reserved;
    uint64_t id;
    int64_t mono_ns;      /* the host's monotonic clock when the event was made */
    int64_t unix_ns;
    int64_t value;
    bcd_str stream;
    bcd_str topic;        /* full topic of a message, `ticks:AAPL` */
    bcd_str type;
    bcd_str key;
    bcd_str audience;
    bcd_str session_id;
    bcd_bytes payload;
    bcd_str principal;
    uint64_t seq;
    bcd_str epoch;        /* the life of the numbering that seq counts in; another after a start of the daemon */
} bcd_event;

/* ── What the host offers ─────────────────────────────────────────────────────────────────────────────────────── */

#define BCD_LOG_ERROR 1u
#define BCD_LOG_WARN 2u
#define BCD_LOG_INFO 3u
#define BCD_LOG_DEBUG 4u
#define BCD_LOG_TRACE 5u

#define BCD_METRIC_COUNTER 1u    /* record adds; the name ends with _total */
#define BCD_METRIC_GAUGE 2u      /* record sets */
#define BCD_METRIC_HISTOGRAM 3u  /* record observes */

#define BCD_HEALTH_OK 0u
#define BCD_HEALTH_DEGRADED 1u   /* works, but something is wrong; shown in /readyz */

typedef struct bcd_host_api {
    uint32_t size;
    uint32_t abi_minor;

    void (*log)(bcd_host *host, uint32_t level, bcd_str target, bcd_str message);
    uint32_t (*log_level)(bcd_host *host);  /* the most verbose level that is wanted, BCD_LOG_* */

    /* Says why the call that is about to return failed. `pointer` is a JSON pointer into the settings ("/symbols/3"),
     * or empty; the operator reads it as file:line:column. Of `validate` everything that is said is shown, up to 100
     * places; of any other call what is said first. Said by `validate` with BCD_OK it is a warning: something in the
     * settings is odd, which keeps nobody from using them. */
    void (*fail)(bcd_host *host, bcd_status status, bcd_str pointer, bcd_str message);

    /* Publishes `count` messages laid out `stride` bytes apart and returns how many were accepted, from the first on;
     * a negative value is a failure of the first. Fewer than count: the next one could not be taken now (BCD_E_AGAIN
     * when called again with it; WRITABLE follows) or is wrong (BCD_E_INVALID when called again with it). */
    int64_t (*publish)(bcd_host *host, const bcd_msg *messages, size_t count, size_t stride);

    /* Subscriptions that a topic of the own stream (the part after the stream; empty = the root) reaches now. */
    int64_t (*demand)(bcd_host *host, bcd_str topic);

    /* Answers a COMMAND, once and before its deadline: BCD_OK and the result, or a failure and {"message":…,
     * "pointer":…}, as JSON of at most 1 MiB; nothing stands for null. BCD_E_INVALID: this instance was not asked, has
     * answered already, or gives no JSON; BCD_E_LIMIT: too much; BCD_E_CLOSED: too late. An answer that is no JSON or
     * too much is the last all the same: the caller is told that. */
    bcd_status (*reply)(bcd_host *host, uint64_t request, bcd_status status, bcd_bytes payload);

    /* First at `delay_ns` from now (0 or more), then every `interval_ns` (0 = once). Setting an id again replaces it. */
    bcd_status (*timer_set)(bcd_host *host, uint64_t id, int64_t delay_ns, int64_t interval_ns);
    bcd_status (*timer_clear)(bcd_host *host, uint64_t id);
    bcd_status (*wake)(bcd_host *host);  /* a WAKE event follows; several calls may become one */

    /* `labels` is a JSON object of strings. The host prefixes the name with broadcastd_plugin_ and adds the label
     * broadcaster. Returns an id above 0, or a failure. */
    int64_t (*metric_open)(bcd_host *host, uint32_t kind, bcd_str name, bcd_str help, bcd_str labels);
    void (*metric_record)(bcd_host *host, int64_t metric, double value);

    void (*health)(bcd_host *host, uint32_t health, bcd_str reason);
    int64_t (*now_mono_ns)(bcd_host *host);  /* virtual under test */
    int64_t (*now_unix_ns)(bcd_host *host);
    const void *(*extension)(bcd_host *host, bcd_str id);  /* NULL: not known here */

    /* Upper bounds of a histogram that is opened afterwards, where the usual ones do not fit (up to 10 s if its name ends
     * with _seconds, else up to 100000): a JSON list of 1 to 32 numbers that rise; of at most 64 histograms. */
    bcd_status (*metric_bounds)(bcd_host *host, bcd_str name, bcd_str bounds);
} bcd_host_api;

/* ── What a plugin offers ─────────────────────────────────────────────────────────────────────────────────────── */

typedef struct bcd_plugin_api {
    uint32_t size;
    uint32_t abi_minor;
    bcd_str id;             /* as in the note */
    bcd_str version;
    bcd_str description;
    bcd_str config_schema;  /* JSON Schema 2020-12 of `settings` */
    bcd_str stream;         /* declaration of the own stream as JSON; empty = publishes nothing (a notifier) */
    uint32_t state_version; /* of save_state's bytes; 0 = keeps no state */
    uint32_t reserved;

    bcd_status (*validate)(bcd_host *host, bcd_str settings);  /* optional: what a schema cannot say */
    bcd_status (*create)(bcd_host *host, bcd_str settings, bcd_instance **instance);
    bcd_status (*start)(bcd_instance *instance);
    /* `count` events laid out `stride` bytes apart. */
    bcd_status (*on_events)(bcd_instance *instance, const bcd_event *events, size_t count, size_t stride);
    bcd_status (*save_state)(bcd_instance *instance, const bcd_writer *writer);              /* optional */
    bcd_status (*restore_state)(bcd_instance *instance, uint32_t from_version, bcd_bytes state); /* optional; before start */
    bcd_status (*reconfigure)(bcd_instance *instance, bcd_str settings); /* optional; BCD_E_UNSUPPORTED: replace me */
    void (*destroy)(bcd_instance *instance);
    const void *(*extension)(bcd_instance *instance, bcd_str id);        /* optional */

    /* Optional: the declaration of the own stream, where it depends on settings that validate() took; `stream` is not
     * empty then. Called as validate() is. */
    bcd_status (*stream_with)(bcd_host *host, bcd_str settings, const bcd_writer *writer);
} bcd_plugin_api;

/* Called once per loaded library, before anything else. `loader` is a handle for log() and fail() during this call and
 * during validate(). Returns a table that lives as long as the library, or NULL after fail(). Both the table of the
 * host and `loader` must be kept only as these rules allow: the table for good, the handle until the call returns. */
typedef const bcd_plugin_api *(*bcd_entry)(const bcd_host_api *host_api, bcd_host *loader);

#if defined(_WIN32)
#define BCD_EXPORT __declspec(dllexport)
#else
#define BCD_EXPORT __attribute__((visibility("default")))
#endif

/* For C plugins: writes the note. Use once, at file scope: BCD_PLUGIN_NOTE("hello", "1.0.0"); */
#define BCD_PLUGIN_NOTE(plugin_id, plugin_version)                                                                  \
    __attribute__((used, aligned(4), section(BCD_NOTE_SECTION))) static const struct {                              \
        uint32_t name_size, descriptor_size, type;                                                                  \
        char owner[12];                                                                                             \
        bcd_note note;                                                                                              \
    } bcd_plugin_note = {sizeof(BCD_NOTE_OWNER), sizeof(bcd_note), BCD_NOTE_TYPE, BCD_NOTE_OWNER,                   \
                         {BCD_ABI_MAJOR, BCD_ABI_MINOR, 1u, plugin_id, plugin_version}}

#ifdef __cplusplus
}
#endif

#endif /* BROADCASTD_PLUGIN_H */
