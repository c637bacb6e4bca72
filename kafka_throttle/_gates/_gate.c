/* The compiled gate: tickets below an edge go straight to the client. gate.py holds the equal pure-Python twin and
 * the description of the protocol; one test suite runs over both.
 *
 * Everything here runs under the GIL. The module is refused in sub-interpreters, as the client itself cannot be
 * used there, so the interned names below may be process-wide. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030C0000
#define Py_T_LONGLONG T_LONGLONG
#define Py_T_ULONG T_ULONG
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY
#endif

/* The longest call that the client accepts: self and eight arguments. */
#define MOST_ARGUMENTS 9

static PyObject *name_value, *name_key, *name_callback, *name_on_delivery, *name_append;
static PyTypeObject *GateType, *StandInType, *ReportType;

enum { CALL, CALLBACK };

/* How deep a thread is in calls of the client that run callbacks, and in callbacks. */
typedef struct {
    unsigned long thread; /* 0: free */
    int depth[2];
} Mark;

typedef struct StandIn StandIn;

typedef struct {
    PyObject_HEAD
    long long ticket, edge, bytes, byte_edge;
    long long client_full, refused;
    unsigned long deferring; /* ident of the thread whose callbacks are put off, 0 when there is none */
    unsigned long home;      /* ident of the only thread whose callbacks are not put off, 0 for all */
    PyCFunctionWithKeywords method; /* of forward_to, when it is a method written in C like the client's */
    PyCFunctionWithKeywords poll_method; /* of poll, in the same way */
    volatile unsigned long *producing; /* in the counter's memory, or idle below */
    unsigned long idle;
    Mark *marks;
    Py_ssize_t mark_count;
    char abandoned;
    PyObject *forward_to, *at_edge, *deferred, *counter, *poll;
    PyObject *topics; /* the only ones that may pass, or NULL for all */
    PyObject *passed; /* the one of them that was found last, or NULL: most producers have few topics */
    StandIn *latest; /* borrowed: the report that was made last, while it lives */
} Gate;

/* ---- Marks: which threads are inside the client ---- */

static Mark *
mark_of(Gate *self, unsigned long thread)
{
    for (Py_ssize_t i = 0; i < self->mark_count; i++)
        if (self->marks[i].thread == thread)
            return &self->marks[i];
    return NULL;
}

static int
enter(Gate *self, int what)
{
    unsigned long thread = PyThread_get_thread_ident();
    Mark *mark = mark_of(self, thread);
    if (!mark && !(mark = mark_of(self, 0))) {
        Mark *more = PyMem_Realloc(self->marks, (size_t)(self->mark_count + 4) * sizeof(Mark));
        if (!more) {
            PyErr_NoMemory();
            return -1;
        }
        memset(more + self->mark_count, 0, 4 * sizeof(Mark));
        mark = more + self->mark_count;
        self->marks = more;
        self->mark_count += 4;
    }
    mark->thread = thread;
    mark->depth[what]++;
    return 0;
}

static void
leave(Gate *self, int what)
{
    Mark *mark = mark_of(self, PyThread_get_thread_ident());
    mark->depth[what]--;
    if (!mark->depth[CALL] && !mark->depth[CALLBACK])
        mark->thread = 0;
}

static int
is_in_callback(Gate *self)
{
    Mark *mark = mark_of(self, PyThread_get_thread_ident());
    return mark && mark->depth[CALLBACK];
}

static PyObject *
call_marked(Gate *self, int what, PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *result;
    if (enter(self, what) < 0)
        return NULL;
    result = PyObject_Vectorcall(callable, args, nargsf, kwnames);
    leave(self, what);
    return result;
}

/* ---- StandIn: takes the place of one of the user's callbacks ---- */

struct StandIn {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Gate *gate;
    PyObject *callback;
};

static PyObject *
standin_defer(StandIn *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *entry = PyTuple_New(nargs + 1), *done;
    if (!entry)
        return NULL;
    PyTuple_SET_ITEM(entry, 0, Py_NewRef(self->callback));
    for (Py_ssize_t i = 0; i < nargs; i++)
        PyTuple_SET_ITEM(entry, i + 1, Py_NewRef(args[i]));
    done = PyObject_CallMethodOneArg(self->gate->deferred, name_append, entry);
    Py_DECREF(entry);
    return done;
}

static int
defers(Gate *self)
{
    unsigned long thread;
    if (!self->deferring && !self->home)
        return 0;
    thread = PyThread_get_thread_ident();
    return self->deferring == thread || (self->home && self->home != thread);
}

static PyObject *
standin_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    StandIn *self = (StandIn *)callable;
    if (kwnames && PyTuple_GET_SIZE(kwnames))
        return PyErr_Format(PyExc_TypeError, "the stand-in for %R takes no keyword arguments", self->callback);
    if (defers(self->gate))
        return standin_defer(self, args, PyVectorcall_NARGS(nargsf));
    return call_marked(self->gate, CALLBACK, self->callback, args, nargsf, NULL);
}

static PyObject *
guard_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    StandIn *self = (StandIn *)callable;
    return call_marked(self->gate, CALLBACK, self->callback, args, nargsf, kwnames);
}

static PyObject *
standin_fill(StandIn *self, vectorcallfunc vectorcall, Gate *gate, PyObject *callback)
{
    if (!self)
        return NULL;
    self->vectorcall = vectorcall;
    self->gate = (Gate *)Py_NewRef((PyObject *)gate);
    self->callback = Py_NewRef(callback);
    return (PyObject *)self;
}

/* For one callback of a record. The client keeps it where the cycle collector cannot look, so tracking it would only
 * make the collector run more often. It remembers nothing of the record, so that records in flight with the same
 * callback share one; the gate only borrows it, and a callback lives no longer than its records. */
static PyObject *
report_for(Gate *gate, PyObject *callback)
{
    if (!gate->latest || gate->latest->callback != callback)
        gate->latest = (StandIn *)standin_fill(PyObject_New(StandIn, ReportType), standin_call, gate, callback);
    else
        Py_INCREF(gate->latest);
    return (PyObject *)gate->latest;
}

static int
standin_traverse(StandIn *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->gate);
    Py_VISIT(self->callback);
    return 0;
}

static void
standin_dealloc(StandIn *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (type == StandInType)
        PyObject_GC_UnTrack(self);
    else if (self->gate->latest == self)
        self->gate->latest = NULL;
    Py_CLEAR(self->gate);
    Py_CLEAR(self->callback);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef standin_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(StandIn, vectorcall), Py_READONLY, NULL},
    {"__wrapped__", Py_T_OBJECT_EX, offsetof(StandIn, callback), Py_READONLY, "The user's callback."},
    {NULL},
};

static PyType_Slot standin_slots[] = {
    {Py_tp_doc, "Stands in for a user's callback: calls it, or defers it while the facade itself polls."},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, standin_traverse},
    {Py_tp_dealloc, standin_dealloc},
    {Py_tp_members, standin_members},
    {0, NULL},
};

static PyType_Slot report_slots[] = {
    {Py_tp_doc, "Stands in for one record's on_delivery."},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_dealloc, standin_dealloc},
    {Py_tp_members, standin_members},
    {0, NULL},
};

static PyType_Spec report_spec = {
    .name = "kafka_throttle._gates._gate.Report",
    .basicsize = sizeof(StandIn),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = report_slots,
};

/* No tp_clear: both members are set for life, and every cycle through them also passes a container that has one. */
static PyType_Spec standin_spec = {
    .name = "kafka_throttle._gates._gate.StandIn",
    .basicsize = sizeof(StandIn),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = standin_slots,
};

/* ---- Gate ---- */

static int
same_name(PyObject *given, PyObject *interned)
{
    if (given == interned)
        return 1;
    /* Names that the compiler wrote are interned, so a different pointer is a different name; names built at run
     * time (**{"on_" + x: ...}) have to be compared. */
    return !PyUnicode_CHECK_INTERNED(given) && PyUnicode_Compare(given, interned) == 0;
}

static long long
byte_length(PyObject *item)
{
    if (PyBytes_Check(item))
        return PyBytes_GET_SIZE(item);
    if (PyUnicode_Check(item)) {
        Py_ssize_t length;
        if (PyUnicode_AsUTF8AndSize(item, &length)) /* kept in the string; the client asks for the same */
            return length;
        PyErr_Clear(); /* lone surrogates: the client refuses the record in its own words */
    }
    return 0;
}

/* Bytes of value and key, and the position of a callback argument (0: there is none). args[0] is the producer. */
static long long
measure(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, Py_ssize_t *callbacks)
{
    long long size = 0;
    callbacks[0] = callbacks[1] = 0;
    if (nargs > 2)
        size += byte_length(args[2]);
    if (nargs > 3)
        size += byte_length(args[3]);
    for (Py_ssize_t i = 5; i < nargs && i < 7; i++)
        if (args[i] != Py_None)
            callbacks[i - 5] = i;
    if (kwnames) {
        Py_ssize_t count = PyTuple_GET_SIZE(kwnames);
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *name = PyTuple_GET_ITEM(kwnames, i), *given = args[nargs + i];
            if (same_name(name, name_value) || same_name(name, name_key))
                size += byte_length(given);
            else if (given != Py_None && same_name(name, name_callback))
                callbacks[0] = nargs + i;
            else if (given != Py_None && same_name(name, name_on_delivery))
                callbacks[1] = nargs + i;
        }
    }
    return size;
}

static PyObject *
keywords_as_dict(PyObject *const *values, PyObject *kwnames)
{
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0)
            Py_CLEAR(dict);
    return dict;
}

/* A method written in C that takes a tuple and a dict is called directly: going through its descriptor would cost
 * another 10 ns a record. The producer's type was checked on the way in. */
static PyObject *
call_method(PyCFunctionWithKeywords method, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *positional = PyTuple_New(nargs - 1), *keywords = NULL, *result = NULL;
    if (!positional)
        return NULL;
    for (Py_ssize_t i = 1; i < nargs; i++)
        PyTuple_SET_ITEM(positional, i - 1, Py_NewRef(args[i]));
    if (!kwnames || (keywords = keywords_as_dict(args + nargs, kwnames)))
        result = method(args[0], positional, keywords);
    Py_DECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

/* The C function of a method that can be called so, else NULL. */
static PyCFunctionWithKeywords
function_of(PyObject *method)
{
    PyMethodDef *definition;
    if (!Py_IS_TYPE(method, &PyMethodDescr_Type))
        return NULL;
    definition = ((PyMethodDescrObject *)method)->d_method;
    return definition->ml_flags == (METH_VARARGS | METH_KEYWORDS)
               ? (PyCFunctionWithKeywords)(void (*)(void))definition->ml_meth
               : NULL;
}

static PyObject *
call_forward(Gate *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    return self->method ? call_method(self->method, args, PyVectorcall_NARGS(nargsf), kwnames)
                        : PyObject_Vectorcall(self->forward_to, args, nargsf, kwnames);
}

/* Calls the client with stand-ins in the place of the user's callbacks. */
static PyObject *
call_client(Gate *self, PyObject *const *args, size_t nargsf, PyObject *kwnames, const Py_ssize_t *callbacks)
{
    Py_ssize_t total = PyVectorcall_NARGS(nargsf) + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *copy[MOST_ARGUMENTS + 1], *standins[2] = {NULL, NULL}, *result = NULL;
    if ((!callbacks[0] && !callbacks[1]) || total > MOST_ARGUMENTS) /* too many: the client says so */
        return call_forward(self, args, nargsf, kwnames);
    memcpy(copy + 1, args, (size_t)total * sizeof(*copy));
    for (int i = 0; i < 2; i++) {
        if (!callbacks[i])
            continue;
        standins[i] = report_for(self, args[callbacks[i]]);
        if (!standins[i])
            goto done;
        copy[1 + callbacks[i]] = standins[i];
    }
    result = call_forward(self, copy + 1, (size_t)PyVectorcall_NARGS(nargsf) | PY_VECTORCALL_ARGUMENTS_OFFSET,
                          kwnames);
done:
    Py_XDECREF(standins[0]);
    Py_XDECREF(standins[1]);
    return result;
}

/* Counts the record and hands it to the client; what the client refuses is not counted as admitted. */
static PyObject *
gate_pass(Gate *self, PyObject *const *args, size_t nargsf, PyObject *kwnames, long long size,
          const Py_ssize_t *callbacks)
{
    PyObject *result;
    self->ticket++;
    self->bytes += size;
    *self->producing = PyThread_get_thread_ident();
    result = call_client(self, args, nargsf, kwnames, callbacks);
    *self->producing = 0;
    if (!result) {
        self->ticket--;
        self->bytes -= size;
        if (PyErr_ExceptionMatches(PyExc_BufferError))
            self->client_full++;
        else
            self->refused++;
    }
    return result;
}

/* Whether a record's topic may pass while others may not: it is in the set, and given by position as is usual. */
static int
may_pass(Gate *self, PyObject *const *args, Py_ssize_t nargs)
{
    int found;
    if (nargs < 2 || !PyUnicode_CheckExact(args[1]))
        return 0;
    if (args[1] == self->passed)
        return 1;
    found = PySet_Contains(self->topics, args[1]);
    if (found < 0)
        PyErr_Clear();
    else if (found)
        Py_XSETREF(self->passed, Py_NewRef(args[1]));
    return found > 0;
}

static PyObject *
gate_admit(Gate *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t callbacks[2];
    long long size = measure(args, PyVectorcall_NARGS(nargsf), kwnames, callbacks);
    if (self->ticket < self->edge && self->bytes + size <= self->byte_edge &&
        (!self->topics || may_pass(self, args, PyVectorcall_NARGS(nargsf)))) {
        PyObject *result = gate_pass(self, args, nargsf, kwnames, size, callbacks);
        if (result || !PyErr_ExceptionMatches(PyExc_BufferError))
            return result;
        PyErr_Clear(); /* the client is full although the gate was open: the slow path knows what to do */
    }
    return PyObject_Vectorcall(self->at_edge, args, nargsf, kwnames);
}

static PyObject *
gate_forward(PyObject *gate, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Gate *self = (Gate *)gate;
    Py_ssize_t callbacks[2];
    long long size;
    if (nargs < 1 || (self->method && !PyObject_TypeCheck(args[0], PyDescr_TYPE(self->forward_to)))) {
        PyErr_SetString(PyExc_TypeError, "forward() needs the producer as its first argument");
        return NULL;
    }
    size = measure(args, nargs, kwnames, callbacks);
    return gate_pass(self, args, (size_t)nargs, kwnames, size, callbacks);
}

static PyObject *
new_standin(vectorcallfunc vectorcall, PyObject *gate, PyObject *callback)
{
    if (!PyCallable_Check(callback))
        return PyErr_Format(PyExc_TypeError, "expected a callable, got %R", callback);
    return standin_fill((StandIn *)StandInType->tp_alloc(StandInType, 0), vectorcall, (Gate *)gate, callback);
}

static PyObject *
gate_stand_in(PyObject *self, PyObject *callback)
{
    return new_standin(standin_call, self, callback);
}

static PyObject *
gate_guard(PyObject *self, PyObject *callback)
{
    return new_standin(guard_call, self, callback);
}

static PyObject *
gate_add(PyObject *self, PyObject *args)
{
    long long records, bytes;
    if (!PyArg_ParseTuple(args, "LL:add", &records, &bytes))
        return NULL;
    ((Gate *)self)->ticket += records;
    ((Gate *)self)->bytes += bytes;
    Py_RETURN_NONE;
}

static PyObject *
gate_open(PyObject *gate, PyObject *args)
{
    Gate *self = (Gate *)gate;
    long long records, bytes;
    double record_bytes; /* for the twin, which does not weigh records */
    if (!PyArg_ParseTuple(args, "LLd:open", &records, &bytes, &record_bytes))
        return NULL;
    self->edge = self->ticket + records;
    self->byte_edge = self->bytes + bytes;
    Py_RETURN_NONE;
}

static PyObject *
call_first(Gate *self, int what, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "expected a callable as the first argument");
        return NULL;
    }
    return call_marked(self, what, args[0], args + 1, (size_t)nargs - 1, kwnames);
}

static PyObject *
gate_serve(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return call_first((Gate *)self, CALL, args, nargs, kwnames);
}

static PyObject *
gate_run(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return call_first((Gate *)self, CALLBACK, args, nargs, NULL);
}

static PyObject *
gate_batch(PyObject *gate, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Gate *self = (Gate *)gate;
    PyObject *result;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "expected a callable as the first argument");
        return NULL;
    }
    *self->producing = PyThread_get_thread_ident();
    result = PyObject_Vectorcall(args[0], args + 1, (size_t)nargs - 1, kwnames);
    *self->producing = 0;
    return result;
}

static PyObject *
gate_close(PyObject *gate, PyObject *unused)
{
    ((Gate *)gate)->edge = ((Gate *)gate)->byte_edge = -1;
    Py_RETURN_NONE;
}

static PyObject *
gate_restrict(PyObject *gate, PyObject *topics)
{
    if (topics != Py_None && !PySet_CheckExact(topics))
        return PyErr_Format(PyExc_TypeError, "expected a set or None, got %R", topics);
    Py_CLEAR(((Gate *)gate)->passed);
    Py_XSETREF(((Gate *)gate)->topics, topics == Py_None ? NULL : Py_NewRef(topics));
    Py_RETURN_NONE;
}

static PyObject *
gate_abandon(PyObject *gate, PyObject *unused)
{
    ((Gate *)gate)->abandoned = 1;
    return gate_close(gate, unused);
}

static PyObject *
gate_get_in_callback(PyObject *self, void *unused)
{
    return PyBool_FromLong(is_in_callback((Gate *)self));
}

static PyObject *
gate_get_in_client(PyObject *self, void *unused)
{
    return PyBool_FromLong(mark_of((Gate *)self, PyThread_get_thread_ident()) != NULL);
}

static PyObject *
gate_get_polling(PyObject *gate, void *unused)
{
    Gate *self = (Gate *)gate;
    for (Py_ssize_t i = 0; i < self->mark_count; i++)
        if (self->marks[i].depth[CALL])
            Py_RETURN_TRUE;
    Py_RETURN_FALSE;
}

static PyObject *
gate_report(PyObject *self, PyObject *callback)
{
    /* Reports are counted inside the client, so that a record without a callback needs none. */
    return callback == Py_None ? Py_NewRef(Py_None) : gate_stand_in(self, callback);
}

static PyObject *
gate_size_of(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t callbacks[2];
    return PyLong_FromLongLong(measure(args, nargs, kwnames, callbacks));
}

static PyObject *
gate_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"forward_to", "at_edge", "deferred", "counter", "poll", NULL};
    PyObject *forward_to, *at_edge, *deferred, *counter = Py_None, *poll = Py_None;
    void *producing = NULL;
    Gate *self;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|OO:Gate", names, &forward_to, &at_edge, &deferred, &counter,
                                     &poll) ||
        PyObject_Size(deferred) < 0)
        return NULL;
    if (counter != Py_None) {
        PyObject *address = PyObject_GetAttrString(counter, "address");
        producing = address ? PyLong_AsVoidPtr(address) : NULL;
        Py_XDECREF(address);
        if (!producing)
            return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "%R has no address", counter);
    }
    self = (Gate *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->method = function_of(forward_to);
    self->poll_method = function_of(poll);
    self->poll = Py_NewRef(poll);
    self->forward_to = Py_NewRef(forward_to);
    self->at_edge = Py_NewRef(at_edge);
    self->deferred = Py_NewRef(deferred);
    self->counter = Py_NewRef(counter);
    self->producing = producing ? producing : &self->idle;
    return (PyObject *)self;
}

static int
gate_traverse(Gate *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->forward_to);
    Py_VISIT(self->at_edge);
    Py_VISIT(self->deferred);
    Py_VISIT(self->counter);
    Py_VISIT(self->poll);
    Py_VISIT(self->topics);
    Py_VISIT(self->passed);
    return 0;
}

static void
gate_dealloc(Gate *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->forward_to);
    Py_CLEAR(self->at_edge);
    Py_CLEAR(self->deferred);
    Py_CLEAR(self->counter); /* after this the memory behind producing is gone */
    Py_CLEAR(self->poll);
    Py_CLEAR(self->topics);
    Py_CLEAR(self->passed);
    PyMem_Free(self->marks);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMemberDef gate_members[] = {
    {"ticket", Py_T_LONGLONG, offsetof(Gate, ticket), Py_READONLY, "Records admitted since the start."},
    {"edge", Py_T_LONGLONG, offsetof(Gate, edge), Py_READONLY, "The highest ticket that may pass."},
    {"bytes", Py_T_LONGLONG, offsetof(Gate, bytes), Py_READONLY, "Bytes (value and key) admitted since the start."},
    {"byte_edge", Py_T_LONGLONG, offsetof(Gate, byte_edge), Py_READONLY, "The byte count that may be reached."},
    {"client_full", Py_T_LONGLONG, offsetof(Gate, client_full), Py_READONLY, "BufferErrors that the client raised."},
    {"refused", Py_T_LONGLONG, offsetof(Gate, refused), Py_READONLY, "Records the client refused with another error."},
    {"deferring", Py_T_ULONG, offsetof(Gate, deferring), 0, "Ident of the thread whose callbacks are deferred; 0: none."},
    {"home", Py_T_ULONG, offsetof(Gate, home), 0, "Ident of the only thread whose callbacks are not deferred; 0: all."},
    {"deferred", Py_T_OBJECT_EX, offsetof(Gate, deferred), Py_READONLY, "Callbacks that wait for the user's poll."},
    {NULL},
};

static PyMethodDef gate_methods[] = {
    {"forward", (PyCFunction)(void (*)(void))gate_forward, METH_FASTCALL | METH_KEYWORDS,
     "forward(producer, topic, value=None, key=None, ...): count the record and hand it to the client."},
    {"stand_in", gate_stand_in, METH_O, "stand_in(callback): a callable that calls or defers it."},
    {"guard", gate_guard, METH_O, "guard(callback): a callable that calls it, as a callback, and never defers it."},
    {"serve", (PyCFunction)(void (*)(void))gate_serve, METH_FASTCALL | METH_KEYWORDS,
     "serve(call, ...): make one of the client's calls that run callbacks."},
    {"run", (PyCFunction)(void (*)(void))gate_run, METH_FASTCALL, "run(callback, ...): call it as a callback."},
    {"add", gate_add, METH_VARARGS, "add(records, bytes): count records that reached the client by another way."},
    {"open", gate_open, METH_VARARGS, "open(records, bytes, record_bytes): let so much pass from now on."},
    {"batch", (PyCFunction)(void (*)(void))gate_batch, METH_FASTCALL | METH_KEYWORDS,
     "batch(produce_batch, ...): make the client's call for a batch; count it with add() afterwards."},
    {"close", gate_close, METH_NOARGS, "close(): let nothing pass."},
    {"restrict", gate_restrict, METH_O,
     "restrict(topics or None): let only records of these topics pass; the set may grow meanwhile."},
    {"abandon", gate_abandon, METH_NOARGS, "abandon(): let nothing pass any more, in a forked child."},
    {"report", gate_report, METH_O, "report(callback or None): a stand-in for a delivery callback."},
    {"size_of", (PyCFunction)(void (*)(void))gate_size_of, METH_FASTCALL | METH_KEYWORDS | METH_STATIC,
     "size_of(producer, topic, value=None, key=None, ...): bytes of value and key."},
    {NULL},
};

static PyGetSetDef gate_getset[] = {
    {"in_callback", gate_get_in_callback, NULL, "Whether this thread is inside a callback.", NULL},
    {"polling", gate_get_polling, NULL, "Whether a thread is inside a call of the client that runs callbacks.", NULL},
    {"in_client", gate_get_in_client, NULL,
     "Whether this thread is inside a callback, or a call of the client that runs callbacks.", NULL},
    {NULL},
};

static PyType_Slot gate_slots[] = {
    {Py_tp_doc, "Gate(forward_to, at_edge, deferred, counter=None, poll=None): see kafka_throttle._gates.gate."},
    {Py_tp_new, gate_new},
    {Py_tp_traverse, gate_traverse},
    {Py_tp_dealloc, gate_dealloc},
    {Py_tp_members, gate_members},
    {Py_tp_getset, gate_getset},
    {Py_tp_methods, gate_methods},
    {0, NULL},
};

static PyType_Spec gate_spec = {
    .name = "kafka_throttle._gates._gate.Gate",
    .basicsize = sizeof(Gate),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = gate_slots,
};

/* ---- GatedMethod: the class attributes `produce` and `poll` ---- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyTypeObject *owner; /* set by __set_name__ */
    Py_ssize_t offset;   /* of the slot that holds the instance's gate */
    PyObject *otherwise, *name, *qualname, *doc, *signature;
} GatedMethod;

/* Returns what the instance's slot holds (borrowed, may be NULL), or -1 when there is no instance. */
static int
find_gate(GatedMethod *self, PyObject *const *args, size_t nargsf, PyObject **gate)
{
    if (!self->owner || PyVectorcall_NARGS(nargsf) < 1 || !PyObject_TypeCheck(args[0], self->owner)) {
        PyErr_Format(PyExc_TypeError, "unbound method %S() needs a producer as its first argument", self->name);
        return -1;
    }
    *gate = *(PyObject **)((char *)args[0] + self->offset);
    return 0;
}

static PyObject *
produce_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    GatedMethod *self = (GatedMethod *)callable;
    PyObject *gate;
    if (find_gate(self, args, nargsf, &gate) < 0)
        return NULL;
    if (gate && Py_IS_TYPE(gate, GateType))
        return gate_admit((Gate *)gate, args, nargsf, kwnames);
    /* The facade is switched off, or the instance was never initialised, for which the client has the words. */
    return PyObject_Vectorcall(gate ? gate : self->otherwise, args, nargsf, kwnames);
}

/* The usual poll() has nothing to run but what the client does, and nobody polls for the facade. Between the look and
 * the mark of enter() the GIL is not released: whoever is about to poll for the facade is seen here, or sees the mark. */
static PyObject *
poll_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    GatedMethod *self = (GatedMethod *)callable;
    PyObject *slot, *result;
    Gate *gate;
    if (find_gate(self, args, nargsf, &slot) < 0)
        return NULL;
    gate = slot && Py_IS_TYPE(slot, GateType) ? (Gate *)slot : NULL;
    if (!gate || !gate->poll_method || gate->abandoned || gate->deferring || PyObject_Size(gate->deferred) ||
        is_in_callback(gate))
        return PyObject_Vectorcall(self->otherwise, args, nargsf, kwnames);
    if (enter(gate, CALL) < 0)
        return NULL;
    result = call_method(gate->poll_method, args, PyVectorcall_NARGS(nargsf), kwnames);
    leave(gate, CALL);
    return result;
}

static PyObject *
gated_get(PyObject *self, PyObject *instance, PyObject *owner)
{
    return instance && instance != Py_None ? PyMethod_New(self, instance) : Py_NewRef(self);
}

static PyObject *
gated_set_name(PyObject *callable, PyObject *args)
{
    GatedMethod *self = (GatedMethod *)callable;
    PyObject *owner, *name, *slot;
    if (!PyArg_ParseTuple(args, "O!U:__set_name__", &PyType_Type, &owner, &name))
        return NULL;
    if (self->owner) /* a subclass gives the method one more name */
        Py_RETURN_NONE;
    slot = PyObject_GetAttrString(owner, "__gate__");
    if (!slot)
        return NULL;
    if (!Py_IS_TYPE(slot, &PyMemberDescr_Type) || ((PyMemberDescrObject *)slot)->d_member->type != Py_T_OBJECT_EX) {
        Py_DECREF(slot);
        PyErr_Format(PyExc_TypeError, "%R needs a slot named __gate__", owner);
        return NULL;
    }
    self->offset = ((PyMemberDescrObject *)slot)->d_member->offset;
    Py_DECREF(slot);
    self->owner = (PyTypeObject *)Py_NewRef(owner);
    Py_XSETREF(self->name, Py_NewRef(name));
    Py_XSETREF(self->qualname, PyUnicode_FromFormat("%s.%U", ((PyTypeObject *)owner)->tp_name, name));
    Py_RETURN_NONE;
}

static PyObject *
gated_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"otherwise", "doc", "text_signature", "poll", NULL};
    PyObject *otherwise, *doc, *signature;
    int poll = 0;
    GatedMethod *self;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OUU|$p:GatedMethod", names, &otherwise, &doc, &signature, &poll))
        return NULL;
    self = (GatedMethod *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->vectorcall = poll ? poll_call : produce_call;
    self->otherwise = Py_NewRef(otherwise);
    self->doc = Py_NewRef(doc);
    self->signature = Py_NewRef(signature);
    self->name = PyUnicode_FromString(poll ? "poll" : "produce");
    self->qualname = Py_XNewRef(self->name);
    if (!self->name)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int
gated_traverse(GatedMethod *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->owner);
    Py_VISIT(self->otherwise);
    return 0;
}

static int
gated_clear(GatedMethod *self)
{
    Py_CLEAR(self->owner);
    Py_CLEAR(self->otherwise);
    return 0;
}

static void
gated_dealloc(GatedMethod *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    gated_clear(self);
    Py_CLEAR(self->name);
    Py_CLEAR(self->qualname);
    Py_CLEAR(self->doc);
    Py_CLEAR(self->signature);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMemberDef gated_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(GatedMethod, vectorcall), Py_READONLY, NULL},
    {"__name__", Py_T_OBJECT_EX, offsetof(GatedMethod, name), Py_READONLY, NULL},
    {"__qualname__", Py_T_OBJECT_EX, offsetof(GatedMethod, qualname), Py_READONLY, NULL},
    {"__doc__", Py_T_OBJECT_EX, offsetof(GatedMethod, doc), Py_READONLY, NULL},
    {"__text_signature__", Py_T_OBJECT_EX, offsetof(GatedMethod, signature), Py_READONLY, NULL},
    {NULL},
};

static PyMethodDef gated_methods[] = {
    {"__set_name__", gated_set_name, METH_VARARGS, "Learn the owning class and where it keeps the gate."},
    {NULL},
};

static PyType_Slot gated_slots[] = {
    {Py_tp_new, gated_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, gated_get},
    {Py_tp_traverse, gated_traverse},
    {Py_tp_clear, gated_clear},
    {Py_tp_dealloc, gated_dealloc},
    {Py_tp_members, gated_members},
    {Py_tp_methods, gated_methods},
    {0, NULL},
};

static PyType_Spec gated_spec = {
    .name = "kafka_throttle._gates._gate.GatedMethod",
    .basicsize = sizeof(GatedMethod),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_IMMUTABLETYPE, /* the interpreter caches no mutable descriptor */
    .slots = gated_slots,
};

/* ---- module ---- */

static int
add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **kept)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (!type || PyModule_AddType(module, type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    if (kept)
        *kept = type; /* kept for life: the fast path compares against it */
    else
        Py_DECREF(type);
    return 0;
}

static int
gate_exec(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "kafka_throttle's compiled gate cannot be used in a sub-interpreter");
        return -1;
    }
    if (!(name_value = PyUnicode_InternFromString("value")) || !(name_key = PyUnicode_InternFromString("key")) ||
        !(name_callback = PyUnicode_InternFromString("callback")) ||
        !(name_on_delivery = PyUnicode_InternFromString("on_delivery")) ||
        !(name_append = PyUnicode_InternFromString("append")))
        return -1;
    return add_type(module, &standin_spec, &StandInType) < 0 ||
                   add_type(module, &report_spec, &ReportType) < 0 || add_type(module, &gate_spec, &GateType) < 0 ||
                   add_type(module, &gated_spec, NULL) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, gate_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_gate",
    .m_doc = "The compiled gate; see kafka_throttle._gates.gate.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__gate(void)
{
    return PyModuleDef_Init(&module);
}
