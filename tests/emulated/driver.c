/* libcuda.so.1 of a GPU that threads.c plays: as much of the driver's interface as numba-cuda and cuda.core ask for.

Device memory is host memory that is known to exist; everything is done at once, whatever stream it is for, unless the stream is
being captured. A kernel's image is the path of a shared object, made from its PTX. */
#define _GNU_SOURCE
#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef int Result;
typedef uint64_t Pointer;
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_READY = 600, UNSUPPORTED = 801, CAPTURE_UNSUPPORTED = 900 };

typedef struct { void *object; } Library;
typedef struct { Kernel entry; int n; const int *sizes; const char *name; } Function;
typedef struct { Function *function; unsigned grid[3], block[3]; void **parameters; void *to; const void *from; size_t size; int value; } Node;
typedef struct { Node *nodes; int count, room; } Graph;
typedef struct { Graph *capture; int device; } Stream;

static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;
static int devices = 2, capability[2] = {9, 0}, multiprocessors = 132;
static __thread void *current;
static char contexts[16]; /* their addresses are the handles */
static Stream default_stream;
long launches, copies, synchronisations, allocations;
static int skipping;

static Stream *stream_of(void *handle) { return (uintptr_t)handle <= 2 ? &default_stream : handle; }

static Node *node(Graph *graph) {
    if (graph->count == graph->room) graph->nodes = realloc(graph->nodes, (graph->room = 2 * graph->room + 8) * sizeof(Node));
    return memset(&graph->nodes[graph->count++], 0, sizeof(Node));
}

static Result run_node(Node *n) {
    if (!n->function) { if (n->from) memmove(n->to, n->from, n->size); else memset(n->to, n->value, n->size); return OK; }
    if (skipping) return OK;
    pthread_mutex_lock(&busy);
    launches++;
    Result result = run_grid(n->function->entry, n->grid, n->block, n->parameters);
    if (result) fprintf(stderr, "emulated launch: %s: %s\n", n->function->name, launch_error);
    pthread_mutex_unlock(&busy);
    return result;
}

/* Controls for tests, not of the driver. */
void emulator_order(int backwards) { reversed = backwards; }
void emulator_counts(long out[5]) {
    out[0] = launches; out[1] = copies; out[2] = synchronisations; out[3] = switches; out[4] = allocations;
}
const char *emulator_error(void) { return launch_error; }
void emulator_lend(Pointer start, size_t bytes) { add_piece(start, bytes, 0); } /* host memory that kernels may use */
void emulator_return(Pointer start) { remove_piece(start); }
void emulator_skip(int yes) { skipping = yes; } /* launches end where they begin: for what a launch costs the host */
void emulator_capability(int major, int minor) { capability[0] = major; capability[1] = minor; }

Result cuInit(unsigned flags) { return OK; }
Result cuDriverGetVersion(int *version) { *version = 13000; return OK; }
Result cuGetErrorName(Result error, const char **text) { *text = error == 716 ? "MISALIGNED_ADDRESS" : error == 700 ? "ILLEGAL_ADDRESS" : "ERROR"; return OK; }
Result cuGetErrorString(Result error, const char **text) { *text = launch_error; return OK; }
Result cuDeviceGetCount(int *count) { *count = devices; return OK; }
Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < devices ? OK : 101; }
Result cuDeviceGetName(char *name, int room, int device) { snprintf(name, room, "Emulated GPU %d", device); return OK; }
Result cuDeviceGetUuid(char *uuid, int device) { memset(uuid, device + 1, 16); return OK; }
Result cuDeviceTotalMem(size_t *bytes, int device) { *bytes = (size_t)1 << 34; return OK; }
Result cuDeviceComputeCapability(int *major, int *minor, int device) { *major = capability[0]; *minor = capability[1]; return OK; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? capability[0] : attribute == 76 ? capability[1] : attribute == 16 ? multiprocessors :
        attribute == 10 ? WARP : attribute == 1 || attribute == 2 ? MOST_THREADS : attribute == 5 ? INT32_MAX :
        attribute == 8 || attribute == 97 ? 49152 : attribute == 41 ? 1 : attribute == 36 ? 2619000 : attribute == 37 ? 5120 :
        attribute == 38 ? 52428800 : attribute == 39 ? 2048 : attribute == 115 ? 1 : 0;
    return OK;
}
Result cuDeviceCanAccessPeer(int *can, int a, int b) { *can = 0; return OK; }
Result cuDevicePrimaryCtxRetain(void **context, int device) { *context = &contexts[device]; return OK; }
Result cuDevicePrimaryCtxRelease(int device) { return OK; }
Result cuDevicePrimaryCtxReset(int device) { return OK; }
Result cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return OK; }
Result cuCtxGetCurrent(void **context) { *context = current; return OK; }
Result cuCtxSetCurrent(void *context) { current = context; return OK; }
static __thread void *below[64];
static __thread int depth;
Result cuCtxPushCurrent(void *context) { below[depth++ & 63] = current; current = context; return OK; }
Result cuCtxPopCurrent(void **context) { if (context) *context = current; current = depth ? below[--depth & 63] : 0; return OK; }
Result cuCtxGetDevice(int *device) { if (!current) return 201; *device = (int)((char *)current - contexts); return OK; }
Result cuCtxGetId(void *context, unsigned long long *id) { *id = (uintptr_t)(context ? context : current); return OK; }
Result cuCtxGetApiVersion(void *context, unsigned *version) { *version = 13000; return OK; }
Result cuCtxSynchronize(void) { synchronisations++; return OK; }
Result cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = *greatest = 0; return OK; }

static Result allocate(Pointer *pointer, size_t bytes) {
    char *memory;
    if (!bytes) return INVALID;
    if (posix_memalign((void **)&memory, 256, bytes + 256)) return OUT_OF_MEMORY;
    allocations++;
    memset(memory, 0xA5, bytes + 256);
    pthread_mutex_lock(&busy);
    add_piece((uintptr_t)memory, bytes, current ? (int)((char *)current - contexts) : 0);
    pthread_mutex_unlock(&busy);
    *pointer = (uintptr_t)memory;
    return OK;
}
Result cuMemAlloc(Pointer *pointer, size_t bytes) { return default_stream.capture ? CAPTURE_UNSUPPORTED : allocate(pointer, bytes); }
Result cuMemAllocAsync(Pointer *pointer, size_t bytes, void *stream) { return allocate(pointer, bytes); }
Result cuMemFree(Pointer pointer) {
    pthread_mutex_lock(&busy);
    int known = remove_piece(pointer);
    pthread_mutex_unlock(&busy);
    if (!known) return INVALID;
    free((void *)(uintptr_t)pointer);
    return OK;
}
Result cuMemFreeAsync(Pointer pointer, void *stream) { return cuMemFree(pointer); }
Result cuMemGetInfo(size_t *spare, size_t *total) { *spare = *total = (size_t)1 << 34; return OK; }
Result cuMemHostAlloc(void **memory, size_t bytes, unsigned flags) { return posix_memalign(memory, 256, bytes) ? OUT_OF_MEMORY : OK; }
Result cuMemFreeHost(void *memory) { free(memory); return OK; }
Result cuMemGetAddressRange(Pointer *base, size_t *size, Pointer pointer) {
    Piece *piece = piece_of(pointer);
    if (!piece) return NOT_FOUND;
    if (base) *base = piece->start;
    if (size) *size = piece->size;
    return OK;
}
static Result move(void *to, const void *from, size_t bytes, void *stream) {
    Graph *capture = stream_of(stream)->capture;
    if (capture) { Node *n = node(capture); n->to = to; n->from = from; n->size = bytes; return OK; }
    copies++;
    memmove(to, from, bytes);
    return OK;
}
Result cuMemcpyHtoD(Pointer to, const void *from, size_t bytes) { synchronisations++; return move((void *)(uintptr_t)to, from, bytes, 0); }
Result cuMemcpyDtoH(void *to, Pointer from, size_t bytes) { synchronisations++; return move(to, (void *)(uintptr_t)from, bytes, 0); }
Result cuMemcpyDtoD(Pointer to, Pointer from, size_t bytes) { return move((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes, 0); }
Result cuMemcpyHtoDAsync(Pointer to, const void *from, size_t bytes, void *s) { return move((void *)(uintptr_t)to, from, bytes, s); }
Result cuMemcpyDtoHAsync(void *to, Pointer from, size_t bytes, void *s) { return move(to, (void *)(uintptr_t)from, bytes, s); }
Result cuMemcpyDtoDAsync(Pointer to, Pointer from, size_t bytes, void *s) {
    return move((void *)(uintptr_t)to, (void *)(uintptr_t)from, bytes, s);
}
Result cuMemcpyAsync(Pointer to, Pointer from, size_t bytes, void *s) { return cuMemcpyDtoDAsync(to, from, bytes, s); }
static Result fill(Pointer to, int value, size_t bytes, void *stream) {
    Graph *capture = stream_of(stream)->capture;
    if (capture) { Node *n = node(capture); n->to = (void *)(uintptr_t)to; n->value = value; n->size = bytes; return OK; }
    memset((void *)(uintptr_t)to, value, bytes);
    return OK;
}
Result cuMemsetD8(Pointer to, unsigned char value, size_t bytes) { return fill(to, value, bytes, 0); }
Result cuMemsetD8Async(Pointer to, unsigned char value, size_t bytes, void *stream) { return fill(to, value, bytes, stream); }
static Result attribute_of(void *data, int attribute, Pointer pointer) {
    Piece *piece = piece_of(pointer);
    if (!piece) return INVALID;
    switch (attribute) {
    case 1: *(void **)data = &contexts[piece->device]; return OK;
    case 2: *(int *)data = 2; return OK;
    case 3: *(Pointer *)data = pointer; return OK;
    case 8: *(int *)data = 0; return OK;
    case 9: *(int *)data = piece->device; return OK;
    }
    return UNSUPPORTED;
}
Result cuPointerGetAttribute(void *data, int attribute, Pointer pointer) { return attribute_of(data, attribute, pointer); }
Result cuPointerGetAttributes(unsigned n, int *attributes, void **data, Pointer pointer) {
    for (unsigned i = 0; i < n; i++) attribute_of(data[i], attributes[i], pointer);
    return OK;
}

Result cuStreamCreate(void **stream, unsigned flags) {
    Stream *made = calloc(1, sizeof *made);
    made->device = current ? (int)((char *)current - contexts) : 0;
    *stream = made;
    return OK;
}
Result cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) { return cuStreamCreate(stream, flags); }
Result cuStreamDestroy(void *stream) { free(stream); return OK; }
Result cuStreamSynchronize(void *stream) {
    if (stream_of(stream)->capture) return CAPTURE_UNSUPPORTED;
    synchronisations++;
    return OK;
}
Result cuStreamQuery(void *stream) { return OK; }
Result cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return OK; }
Result cuStreamGetFlags(void *stream, unsigned *flags) { *flags = 1; return OK; }
Result cuStreamGetPriority(void *stream, int *priority) { *priority = 0; return OK; }
Result cuStreamGetCtx(void *stream, void **context) { *context = &contexts[stream_of(stream)->device]; return OK; }
Result cuStreamGetDevice(void *stream, int *device) { *device = stream_of(stream)->device; return OK; }
Result cuStreamIsCapturing(void *stream, int *status) { *status = stream_of(stream)->capture ? 1 : 0; return OK; }
Result cuStreamGetCaptureInfo(void *stream, int *status, unsigned long long *id, void **graph, void ***dependencies, void **edges, size_t *n) {
    Stream *s = stream_of(stream);
    *status = s->capture ? 1 : 0;
    if (id) *id = (uintptr_t)s->capture;
    if (graph) *graph = s->capture;
    if (n) *n = 0;
    return OK;
}
Result cuStreamBeginCapture(void *stream, int mode) {
    if ((uintptr_t)stream <= 2) return 900;
    stream_of(stream)->capture = calloc(1, sizeof(Graph));
    return OK;
}
Result cuStreamEndCapture(void *stream, void **graph) { Stream *s = stream_of(stream); *graph = s->capture; s->capture = 0; return *graph ? OK : 902; }
Result cuGraphInstantiate(void **executable, void *graph, unsigned long long flags) { *executable = graph; return OK; }
Result cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) { *executable = graph; return OK; }
Result cuGraphInstantiateWithParams(void **executable, void *graph, void *parameters) { *executable = graph; return OK; }
Result cuGraphLaunch(void *executable, void *stream) {
    Graph *graph = executable;
    for (int i = 0; i < graph->count; i++) { Result result = run_node(&graph->nodes[i]); if (result) return result; }
    return OK;
}
Result cuGraphGetNodes(Graph *graph, void **nodes, size_t *count) {
    if (nodes) for (size_t i = 0; i < *count; i++) nodes[i] = i < (size_t)graph->count ? &graph->nodes[i] : 0;
    *count = graph->count;
    return OK;
}
Result cuGraphUpload(void *executable, void *stream) { return OK; }
Result cuGraphDestroy(void *graph) { return OK; }
Result cuGraphExecDestroy(void *executable) { return OK; }

static int an_event;
Result cuEventCreate(void **event, unsigned flags) { *event = &an_event; return OK; }
Result cuEventDestroy(void *event) { return OK; }
Result cuEventRecord(void *event, void *stream) { return OK; }
Result cuEventSynchronize(void *event) { return OK; }
Result cuEventQuery(void *event) { return OK; }
Result cuEventElapsedTime(float *milliseconds, void *a, void *b) { *milliseconds = 1; return OK; }

Result cuLibraryLoadData(void **library, const void *code, void *jit, void **jit_values, unsigned n_jit, void *options, void **values, unsigned n) {
    Library *made = calloc(1, sizeof *made);
    made->object = dlopen(code, RTLD_NOW | RTLD_LOCAL);
    if (!made->object) { fprintf(stderr, "%s\n", dlerror()); return 200; }
    *library = made;
    return OK;
}
Result cuLibraryUnload(void *library) { return OK; }
Result cuLibraryGetKernel(void **kernel, void *library, const char *name) {
    void *object = ((Library *)library)->object;
    Function *made = calloc(1, sizeof *made);
    made->entry = (Kernel)dlsym(object, "entry");
    made->n = *(int *)dlsym(object, "n_parameters");
    made->sizes = dlsym(object, "parameter_sizes");
    made->name = strdup(name);
    *kernel = made;
    return made->entry ? OK : NOT_FOUND;
}
Result cuModuleLoadDataEx(void **module, const void *image, unsigned n, int *options, void **values) {
    return cuLibraryLoadData(module, image, 0, 0, 0, 0, 0, 0);
}
Result cuModuleLoadData(void **module, const void *image) { return cuLibraryLoadData(module, image, 0, 0, 0, 0, 0, 0); }
Result cuModuleUnload(void *module) { return OK; }
Result cuModuleGetFunction(void **function, void *module, const char *name) { return cuLibraryGetKernel(function, module, name); }
Result cuKernelGetFunction(void **function, void *kernel) { *function = kernel; return OK; }
Result cuLibraryGetModule(void **module, void *library) { *module = library; return OK; }
Result cuLibraryGetKernelCount(unsigned *count, void *library) { *count = 1; return OK; }
Result cuKernelGetAttribute(int *value, int attribute, void *kernel, int device) { *value = attribute == 0 ? MOST_THREADS : 0; return OK; }
Result cuFuncGetAttribute(int *value, int attribute, void *function) { *value = attribute == 0 ? MOST_THREADS : 0; return OK; }
Result cuKernelSetAttribute(int attribute, int value, void *kernel, int device) { return OK; }
Result cuFuncSetAttribute(void *function, int attribute, int value) { return OK; }
Result cuKernelGetParamInfo(void *kernel, size_t index, size_t *offset, size_t *size) {
    Function *f = kernel;
    if (index >= (size_t)f->n) return INVALID;
    if (size) *size = f->sizes[index];
    if (offset) { size_t at = 0; for (size_t i = 0; i <= index; i++) { at = (at + f->sizes[i] - 1) / f->sizes[i] * f->sizes[i]; if (i < index) at += f->sizes[i]; } *offset = at; }
    return OK;
}
Result cuFuncGetParamInfo(void *function, size_t index, size_t *offset, size_t *size) { return cuKernelGetParamInfo(function, index, offset, size); }
Result cuFuncGetModule(void **module, void *function) { *module = function; return OK; }

Result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **parameters, void **extra) {
    Graph *capture = stream_of(stream)->capture, none = {0};
    Node *n = node(capture ? capture : &none);
    Function *f = n->function = function;
    unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
    memcpy(n->grid, grid, sizeof grid);
    memcpy(n->block, block, sizeof block);
    n->parameters = parameters;
    if (!gx || !bx || (uint64_t)bx * by * bz > MOST_THREADS) return INVALID;
    if (!capture) { Result result = run_node(n); free(none.nodes); return result; }
    n->parameters = calloc(f->n + 1, sizeof(void *));
    for (int i = 0; i < f->n; i++) n->parameters[i] = memcpy(malloc(f->sizes[i]), parameters[i], f->sizes[i]);
    return OK;
}
typedef struct { unsigned gx, gy, gz, bx, by, bz, shared; void *stream, *attributes; unsigned n; } Config;
Result cuLaunchKernelEx(const Config *c, void *function, void **parameters, void **extra) {
    return cuLaunchKernel(function, c->gx, c->gy, c->gz, c->bx, c->by, c->bz, c->shared, c->stream, parameters, extra);
}
Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void *function, int size, size_t shared) { *blocks = 2; return OK; }
Result cuProfilerStart(void) { return OK; }
Result cuProfilerStop(void) { return OK; }

/* Functions by name; of what is not here, whoever asks is told so. */
Result cuGetProcAddress(const char *name, void **function, int version, uint64_t flags, int *status) {
    *function = dlsym(RTLD_DEFAULT, name);
    if (getenv("EMULATOR_LOG") && !*function) fprintf(stderr, "not emulated: %s\n", name);
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
Result cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    return cuGetProcAddress(name, function, version, flags, status);
}
