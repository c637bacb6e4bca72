/* Counts acknowledgements inside librdkafka, without Python and without a callback per record.
 *
 * librdkafka loads this module a second time as a plugin (configuration property plugin.library.paths) and calls
 * conf_init() in it, which registers interceptors on the new client: one for every acknowledged or failed record,
 * two for requests and responses. They run on librdkafka's broker threads, hold no lock and never touch Python.
 *
 * The functions of librdkafka are handed over as addresses (bind), because a client's wheel keeps its own copy of
 * the library, invisible to the dynamic linker. The declarations below are librdkafka's stable public ABI. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdint.h>

/* rd_kafka_message_t */
typedef struct {
    int err;
    void *topic;
    int32_t partition;
    void *payload;
    size_t len;
    void *key;
    size_t key_len;
    int64_t offset;
    void *_private;
} Record;

#define NOT_PERSISTED 0 /* rd_kafka_msg_status_t */
#define API_PRODUCE 0
#define BUCKETS 224
#define ERRORS 24
#define RELAXED(object, amount) atomic_fetch_add_explicit(&(object), (amount), memory_order_relaxed)
#define LOAD(object) atomic_load_explicit(&(object), memory_order_relaxed)

typedef struct {
    /* Ident of the thread on which the gate is inside the client's produce(), else 0: a failure that is reported on
     * that thread is also raised there, and the gate has counted it. On a cache line of its own. */
    volatile unsigned long producing;
    char padding[64 - sizeof(unsigned long)];
    atomic_int users; /* the Python object, and each client it counts for */
    _Atomic(void *) client; /* the one that was constructed last, while it lives */
    atomic_llong acked, acked_bytes; /* every report, good or bad */
    atomic_llong failed, failed_bytes, unknown, unknown_bytes;
    atomic_llong requests, responses, response_time; /* microseconds */
    atomic_llong least_round_trip; /* of any request in this window; 0: none */
    atomic_llong sample_mask; /* the delay of one record in (mask + 1) is measured */
    atomic_llong delays[BUCKETS], delay_total, delay_count; /* microseconds */
    struct {
        atomic_int code;
        atomic_llong count;
    } errors[ERRORS];
} Counts;

typedef int (*AddToConf)(void *conf, const char *name, void *function, void *opaque);
typedef int (*AddToClient)(void *client, const char *name, void *function, void *opaque);
static AddToConf conf_add_on_new;
static AddToClient add_on_acknowledgement, add_on_request_sent, add_on_response_received, add_on_destroy;
static int64_t (*message_latency)(const Record *);
static int (*message_status)(const Record *);
static void *(*main_queue)(void *client);
static void (*io_event_enable)(void *queue, int fd, const void *payload, size_t size);
static void (*queue_destroy)(void *queue);

/* The counts that the client under construction on this thread will use. */
static _Thread_local Counts *armed;

static void
release(Counts *counts)
{
    if (atomic_fetch_sub(&counts->users, 1) == 1)
        free(counts);
}

/* Buckets of an eighth of an octave: 0 to 7 microseconds exactly, then eight to each power of two. */
static int
bucket_of(int64_t delay)
{
    int octave, bucket;
    if (delay < 8)
        return delay < 0 ? 0 : (int)delay;
    octave = 63 - __builtin_clzll((unsigned long long)delay);
    bucket = 8 * (octave - 2) + (int)((delay >> (octave - 3)) & 7);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static void
count_error(Counts *counts, int code)
{
    for (int i = 0; i < ERRORS; i++) {
        int known = LOAD(counts->errors[i].code);
        if (known == 0 && atomic_compare_exchange_strong(&counts->errors[i].code, &known, code))
            known = code;
        if (known == code || i == ERRORS - 1) { /* the last row takes what finds no row of its own */
            RELAXED(counts->errors[i].count, 1);
            return;
        }
    }
}

static int
on_acknowledgement(void *client, Record *record, void *opaque)
{
    Counts *counts = opaque;
    long long bytes = (long long)(record->len + record->key_len), n;
    if (record->err) {
        if (counts->producing && counts->producing == PyThread_get_thread_ident())
            return 0;
        if (message_status(record) == NOT_PERSISTED) {
            RELAXED(counts->failed, 1);
            RELAXED(counts->failed_bytes, bytes);
        } else {
            RELAXED(counts->unknown, 1);
            RELAXED(counts->unknown_bytes, bytes);
        }
        count_error(counts, record->err);
    }
    n = RELAXED(counts->acked, 1);
    RELAXED(counts->acked_bytes, bytes);
    if (!record->err && (n & LOAD(counts->sample_mask)) == 0) {
        int64_t delay = message_latency(record);
        RELAXED(counts->delays[bucket_of(delay)], 1);
        RELAXED(counts->delay_total, delay);
        RELAXED(counts->delay_count, 1);
    }
    return 0;
}

static int
on_request_sent(void *client, int socket, const char *broker, int32_t broker_id, int16_t api, int16_t version,
                int32_t correlation, size_t size, void *opaque)
{
    if (api == API_PRODUCE)
        RELAXED(((Counts *)opaque)->requests, 1);
    return 0;
}

static int
on_response_received(void *client, int socket, const char *broker, int32_t broker_id, int16_t api, int16_t version,
                     int32_t correlation, size_t size, int64_t rtt, int err, void *opaque)
{
    Counts *counts = opaque;
    long long least = LOAD(counts->least_round_trip);
    /* A bootstrap connection (no broker id yet) may take another path than the records: it is no witness. */
    while (!err && broker_id >= 0 && rtt > 0 && (!least || rtt < least) &&
           !atomic_compare_exchange_weak(&counts->least_round_trip, &least, rtt)) {
    }
    if (api == API_PRODUCE) {
        RELAXED(counts->responses, 1);
        if (!err && rtt > 0)
            RELAXED(counts->response_time, rtt);
    }
    return 0;
}

static int
on_destroy(void *client, void *opaque)
{
    atomic_compare_exchange_strong(&((Counts *)opaque)->client, &client, NULL);
    release(opaque);
    return 0;
}

#define INTERCEPTOR_NAME "kafka_throttle"

static int
on_new(void *client, const void *conf, void *opaque, char *error, size_t error_size)
{
    Counts *counts = opaque;
    int failed = add_on_acknowledgement(client, INTERCEPTOR_NAME, (void *)on_acknowledgement, counts);
    failed |= add_on_request_sent(client, INTERCEPTOR_NAME, (void *)on_request_sent, counts);
    failed |= add_on_response_received(client, INTERCEPTOR_NAME, (void *)on_response_received, counts);
    if (failed) {
        PyOS_snprintf(error, error_size, "kafka_throttle could not register its interceptors");
        return -1; /* RD_KAFKA_RESP_ERR_UNKNOWN */
    }
    atomic_fetch_add(&counts->users, 1);
    if (add_on_destroy && !add_on_destroy(client, INTERCEPTOR_NAME, (void *)on_destroy, counts))
        atomic_store(&counts->client, client);
    return 0;
}

/* Called by librdkafka when plugin.library.paths is set on a configuration. */
Py_EXPORTED_SYMBOL int
conf_init(void *conf, void **opaque, char *error, size_t error_size)
{
    if (!armed || !conf_add_on_new)
        return 0; /* not one of ours: somebody copied the property into another client's configuration */
    return conf_add_on_new(conf, INTERCEPTOR_NAME, (void *)on_new, armed);
}

/* ---- Python ---- */

typedef struct {
    PyObject_HEAD
    Counts *counts;
    Counts *outer; /* armed before this one, while it is armed */
} AckCounter;

static PyObject *
counter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    AckCounter *self;
    if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs))) {
        PyErr_SetString(PyExc_TypeError, "AckCounter() takes no arguments");
        return NULL;
    }
    self = (AckCounter *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->counts = calloc(1, sizeof(Counts));
    if (!self->counts) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    atomic_init(&self->counts->users, 1);
    return (PyObject *)self;
}

static void
counter_dealloc(AckCounter *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->counts)
        release(self->counts);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
counter_arm(AckCounter *self, PyObject *unused)
{
    self->outer = armed;
    armed = self->counts;
    Py_RETURN_NONE;
}

static PyObject *
counter_disarm(AckCounter *self, PyObject *unused)
{
    armed = self->outer;
    Py_RETURN_NONE;
}

static PyObject *
counter_acked(AckCounter *self, PyObject *unused)
{
    return Py_BuildValue("LL", LOAD(self->counts->acked), LOAD(self->counts->acked_bytes));
}

static PyObject *
counter_outcomes(AckCounter *self, PyObject *unused)
{
    /* The totals are read last: a record counted in between may miss among the failures, never the other way. */
    Counts *counts = self->counts;
    long long failed = LOAD(counts->failed), failed_bytes = LOAD(counts->failed_bytes);
    long long unknown = LOAD(counts->unknown), unknown_bytes = LOAD(counts->unknown_bytes);
    return Py_BuildValue("LLLLLL", LOAD(counts->acked), LOAD(counts->acked_bytes), failed, failed_bytes, unknown,
                         unknown_bytes);
}

static PyObject *
counter_requests(AckCounter *self, PyObject *unused)
{
    Counts *counts = self->counts;
    return Py_BuildValue("LLL", LOAD(counts->requests), LOAD(counts->responses), LOAD(counts->response_time));
}

static PyObject *
counter_least_round_trip(AckCounter *self, PyObject *unused)
{
    return PyLong_FromLongLong(LOAD(self->counts->least_round_trip));
}

static PyObject *
counter_delays(AckCounter *self, PyObject *unused)
{
    Counts *counts = self->counts;
    PyObject *buckets = PyTuple_New(BUCKETS);
    for (Py_ssize_t i = 0; buckets && i < BUCKETS; i++) {
        PyObject *count = PyLong_FromLongLong(LOAD(counts->delays[i]));
        if (!count)
            Py_CLEAR(buckets);
        else
            PyTuple_SET_ITEM(buckets, i, count);
    }
    return buckets ? Py_BuildValue("NLL", buckets, LOAD(counts->delay_total), LOAD(counts->delay_count)) : NULL;
}

static PyObject *
counter_errors(AckCounter *self, PyObject *unused)
{
    PyObject *errors = PyDict_New();
    for (int i = 0; errors && i < ERRORS; i++) {
        int code = LOAD(self->counts->errors[i].code);
        PyObject *key, *count;
        if (!code)
            break;
        key = PyLong_FromLong(code);
        count = PyLong_FromLongLong(LOAD(self->counts->errors[i].count));
        if (!key || !count || PyDict_SetItem(errors, key, count) < 0)
            Py_CLEAR(errors);
        Py_XDECREF(key);
        Py_XDECREF(count);
    }
    return errors;
}

static PyObject *
counter_begin_window(AckCounter *self, PyObject *power)
{
    long exponent = PyLong_AsLong(power);
    if (exponent == -1 && PyErr_Occurred())
        return NULL;
    if (exponent < 0 || exponent > 20)
        return PyErr_Format(PyExc_ValueError, "expected a power of two from 0 to 20, got %ld", exponent);
    atomic_store_explicit(&self->counts->sample_mask, (1LL << exponent) - 1, memory_order_relaxed);
    atomic_store_explicit(&self->counts->least_round_trip, 0, memory_order_relaxed);
    Py_RETURN_NONE;
}

/* The caller sees to it that the client is not destroyed meanwhile. */
static PyObject *
counter_ring(AckCounter *self, PyObject *descriptor)
{
    void *client = atomic_load(&self->counts->client), *queue;
    long fd = PyLong_AsLong(descriptor);
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    if (!client)
        Py_RETURN_FALSE;
    queue = main_queue(client);
    io_event_enable(queue, (int)fd, "", 1);
    queue_destroy(queue); /* our reference to it */
    Py_RETURN_TRUE;
}

static PyObject *
counter_get_address(AckCounter *self, void *unused)
{
    return PyLong_FromVoidPtr((void *)&self->counts->producing);
}

static PyGetSetDef counter_getset[] = {
    {"address", (getter)counter_get_address, NULL, "Where the gate marks that it is inside produce().", NULL},
    {NULL},
};

static PyMethodDef counter_methods[] = {
    {"arm", (PyCFunction)counter_arm, METH_NOARGS, "arm(): count for the client that this thread constructs next."},
    {"disarm", (PyCFunction)counter_disarm, METH_NOARGS, "disarm(): the construction is over."},
    {"acked", (PyCFunction)counter_acked, METH_NOARGS, "acked() -> (records, bytes) reported, good or bad."},
    {"outcomes", (PyCFunction)counter_outcomes, METH_NOARGS,
     "outcomes() -> (reported, bytes, failed, bytes, unknown, bytes)."},
    {"requests", (PyCFunction)counter_requests, METH_NOARGS,
     "requests() -> (produce requests sent, responses received, total response time in microseconds)."},
    {"least_round_trip", (PyCFunction)counter_least_round_trip, METH_NOARGS,
     "least_round_trip() -> microseconds of the fastest request in this window; 0 when there was none."},
    {"delays", (PyCFunction)counter_delays, METH_NOARGS,
     "delays() -> (counts per bucket, total in microseconds, number of samples)."},
    {"errors", (PyCFunction)counter_errors, METH_NOARGS, "errors() -> {error code: records}."},
    {"begin_window", (PyCFunction)counter_begin_window, METH_O,
     "begin_window(power): measure the delay of one record in 2**power, and forget the fastest request."},
    {"ring", (PyCFunction)counter_ring, METH_O,
     "ring(fd) -> whether the client lives, which then writes a byte there whenever it has something for poll() again; "
     "-1: no more."},
    {NULL},
};

static PyType_Slot counter_slots[] = {
    {Py_tp_doc, "Counts what becomes of the records of one client; see kafka_throttle._adapters.acks."},
    {Py_tp_new, counter_new},
    {Py_tp_dealloc, counter_dealloc},
    {Py_tp_methods, counter_methods},
    {Py_tp_getset, counter_getset},
    {0, NULL},
};

static PyType_Spec counter_spec = {
    .name = "kafka_throttle._adapters._acks.AckCounter",
    .basicsize = sizeof(AckCounter),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = counter_slots,
};

static PyObject *
acks_bind(PyObject *module, PyObject *args)
{
    unsigned long long on_new_, on_ack, on_sent, on_response, on_gone, latency, status, queue, io_event, destroy;
    if (!PyArg_ParseTuple(args, "KKKKKKKKKK:bind", &on_new_, &on_ack, &on_sent, &on_response, &on_gone, &latency, &status,
                          &queue, &io_event, &destroy))
        return NULL;
    conf_add_on_new = (AddToConf)(uintptr_t)on_new_;
    add_on_acknowledgement = (AddToClient)(uintptr_t)on_ack;
    add_on_request_sent = (AddToClient)(uintptr_t)on_sent;
    add_on_response_received = (AddToClient)(uintptr_t)on_response;
    add_on_destroy = (AddToClient)(uintptr_t)on_gone;
    message_latency = (int64_t(*)(const Record *))(uintptr_t)latency;
    message_status = (int (*)(const Record *))(uintptr_t)status;
    main_queue = (void *(*)(void *))(uintptr_t)queue;
    io_event_enable = (void (*)(void *, int, const void *, size_t))(uintptr_t)io_event;
    queue_destroy = (void (*)(void *))(uintptr_t)destroy;
    Py_RETURN_NONE;
}

static PyObject *
acks_bucket_of(PyObject *module, PyObject *delay)
{
    long long value = PyLong_AsLongLong(delay);
    if (value == -1 && PyErr_Occurred())
        return NULL;
    return PyLong_FromLong(bucket_of(value));
}

static PyMethodDef acks_methods[] = {
    {"bind", acks_bind, METH_VARARGS, "bind(*addresses): the functions of librdkafka, in the order of acks.py."},
    {"bucket_of", acks_bucket_of, METH_O, "bucket_of(microseconds): the delay bucket; for the tests."},
    {NULL},
};

static int
acks_exec(PyObject *module)
{
    PyTypeObject *type;
    int failed;
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "kafka_throttle's interceptor cannot be used in a sub-interpreter");
        return -1;
    }
    type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &counter_spec, NULL);
    if (!type)
        return -1;
    failed = PyModule_AddType(module, type);
    Py_DECREF(type);
    return failed < 0 ? -1 : PyModule_AddIntConstant(module, "BUCKETS", BUCKETS);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, acks_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_acks",
    .m_doc = "Acknowledgements counted inside librdkafka; see kafka_throttle._adapters.acks.",
    .m_methods = acks_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__acks(void)
{
    return PyModuleDef_Init(&module);
}
