/* The threads of a block, each on a stack of its own, taking turns wherever one has to wait for others.

They run one at a time, in the order of their numbers or, where asked for, the other way round: what depends on the order is
found by comparing. Waiting for threads that never come, addresses where nothing is and misaligned ones end the launch. */
#define _GNU_SOURCE
#include "gpu.h"
#include "threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { READY, AT_BARRIER, AT_MEETING, DONE };
enum { STACK = 1 << 18 };

typedef struct {
    uint32_t arrived, mask, value[WARP], with[WARP], result[WARP], clamp[WARP];
    int valid[WARP], what, place;
} Meeting;

static Thread threads[MOST_THREADS];
static ucontext_t starts[MOST_THREADS], scheduler_start;
static unsigned char *stacks[MOST_THREADS], *shared;
static Meeting meetings[MOST_THREADS / WARP];
static jmp_buf scheduler;
static Kernel kernel;
static void **parameters;
static int count, at_barrier, done;
static int started[MOST_THREADS];
char launch_error[256];
int launch_code, reversed;
long switches;

static void turn(Thread *t) {
    if (!_setjmp(t->here)) _longjmp(scheduler, 1);
}

static void body(int number) {
    for (;;) {
        Thread *t = &threads[number];
        kernel(t, parameters);
        t->state = DONE;
        done++;
        turn(t);
    }
}

void fault(Thread *t, int code, const char *what, int place) {
    snprintf(launch_error, sizeof launch_error, "%s, thread %u of block %u, line %d", what, t->tid[0], t->ctaid[0], place);
    launch_code = code;
    _longjmp(scheduler, 2);
}

void barrier(Thread *t, int place) {
    t->state = AT_BARRIER;
    t->place = place;
    if (++at_barrier < count) { turn(t); return; }
    at_barrier = 0;
    for (int i = 0; i < count; i++) {
        if (threads[i].place != place) fault(t, 719, "threads of a block at different barriers", place);
        threads[i].state = READY;
    }
}

uint32_t meet(Thread *t, int what, uint32_t mask, uint32_t value, uint32_t with, uint32_t clamp, int *valid, int place) {
    Meeting *m = &meetings[t->warp];
    uint32_t lane = t->lane;
    if (!(mask >> lane & 1)) fault(t, 719, "a lane that is not in the mask", place);
    if (!m->arrived) { m->mask = mask; m->what = what; m->place = place; }
    if (m->mask != mask || m->place != place || m->arrived >> lane & 1) fault(t, 719, "lanes of a warp at different places", place);
    m->arrived |= 1u << lane;
    m->value[lane] = value; m->with[lane] = with; m->clamp[lane] = clamp;
    if (m->arrived != mask) {
        t->state = AT_MEETING;
        t->place = place;
        turn(t);
    } else {
        uint32_t ballot = 0;
        for (uint32_t i = 0; i < WARP; i++) if (mask >> i & 1 && m->value[i]) ballot |= 1u << i;
        for (uint32_t i = 0; i < WARP; i++) {
            if (!(mask >> i & 1)) continue;
            uint32_t segment = m->clamp[i] >> 8 & 31, last = m->clamp[i] & 31, b = m->with[i], from = i;
            uint32_t most = (i & segment) | (last & ~segment), least = i & segment;
            int ok = 1;
            if (what == SHFL_IDX) from = least | (b & ~segment & 31), ok = from <= most;
            if (what == SHFL_UP) from = i - b, ok = (int32_t)from >= (int32_t)most;
            if (what == SHFL_DOWN) from = i + b, ok = from <= most;
            if (what == SHFL_BFLY) from = i ^ b, ok = from <= most;
            if (!ok) from = i;
            if (what >= SHFL_IDX && what <= SHFL_BFLY && !(mask >> (from & 31) & 1)) fault(t, 719, "a lane that is not there is read", place);
            m->result[i] = what == BALLOT ? ballot : m->value[from & 31];
            m->valid[i] = ok;
            Thread *other = &threads[t->warp * WARP + i];
            if (other != t) other->state = READY;
        }
        m->arrived = 0;
    }
    if (valid) *valid = m->valid[lane];
    return m->result[lane];
}

static int next(int from) {
    for (int i = from; i < count; i++) {
        int at = reversed ? count - 1 - i : i;
        if (threads[at].state == READY) return i;
    }
    return -1;
}

static int run_block(void) {
    volatile int at = -1;
    int how = _setjmp(scheduler);
    if (how == 2) {
        memset(started, 0, sizeof started); /* their stacks hold what never ends */
        return 1;
    }
    while (done < count) {
        at = next(at + 1);
        if (at < 0) at = next(0);
        if (at < 0) {
            for (int i = 0; i < count; i++)
                if (threads[i].state != DONE) fault(&threads[i], 719, "a thread waits for others that never come", threads[i].place);
        }
        int number = reversed ? count - 1 - at : at;
        switches++;
        if (started[number]) _longjmp(threads[number].here, 1);
        started[number] = 1;
        if (!stacks[number]) stacks[number] = mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&starts[number]);
        starts[number].uc_stack.ss_sp = stacks[number];
        starts[number].uc_stack.ss_size = STACK;
        makecontext(&starts[number], (void (*)(void))body, 1, number);
        swapcontext(&scheduler_start, &starts[number]);
    }
    return 0;
}

int run_grid(Kernel function, const unsigned grid[3], const unsigned block[3], void **arguments) {
    kernel = function;
    parameters = arguments;
    count = block[0] * block[1] * block[2];
    if (!shared) shared = mmap(0, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    launch_error[0] = launch_code = 0;
    if (count > MOST_THREADS || !count) return launch_code = 1;
    for (unsigned b = 0; b < grid[0] * grid[1] * grid[2]; b++) {
        memset(shared, 0xA5, SHARED_BYTES); /* whoever reads before writing gets rubbish */
        memset(meetings, 0, sizeof meetings);
        at_barrier = done = 0;
        for (int i = 0; i < count; i++) {
            Thread *t = &threads[i];
            t->state = READY;
            t->number = i; t->warp = i / WARP; t->lane = i % WARP; t->place = 0;
            t->tid[0] = i % block[0]; t->tid[1] = i / block[0] % block[1]; t->tid[2] = i / block[0] / block[1];
            t->ctaid[0] = b % grid[0]; t->ctaid[1] = b / grid[0] % grid[1]; t->ctaid[2] = b / grid[0] / grid[1];
            for (int d = 0; d < 3; d++) { t->ntid[d] = block[d]; t->nctaid[d] = grid[d]; }
            t->shared = shared;
        }
        if (run_block()) return launch_code;
    }
    return 0;
}

/* Memory that exists: pieces in the order of their addresses. */
static Piece *pieces;
static int n_pieces, room;
static uint64_t seen_start, seen_end; /* the piece that was looked up last */

int find_piece(uint64_t address) { /* the last that starts at or before it, or -1 */
    int low = 0, high = n_pieces;
    while (low < high) {
        int middle = (low + high) / 2;
        if (pieces[middle].start <= address) low = middle + 1; else high = middle;
    }
    return low - 1;
}

Piece *piece_of(uint64_t address) {
    int at = find_piece(address);
    return at >= 0 && address < pieces[at].start + pieces[at].size ? &pieces[at] : 0;
}

void add_piece(uint64_t start, uint64_t size, int device) {
    if (n_pieces == room) pieces = realloc(pieces, (room = 2 * room + 64) * sizeof *pieces);
    int at = find_piece(start) + 1;
    memmove(&pieces[at + 1], &pieces[at], (n_pieces++ - at) * sizeof *pieces);
    pieces[at] = (Piece){start, size, device};
    seen_end = 0;
}

int remove_piece(uint64_t start) {
    int at = find_piece(start);
    if (at < 0 || pieces[at].start != start) return 0;
    seen_end = 0;
    memmove(&pieces[at], &pieces[at + 1], (--n_pieces - at) * sizeof *pieces);
    return 1;
}

void *mem(Thread *t, uint64_t address, unsigned n, int place) {
    uint64_t in_shared = (uint64_t)(uintptr_t)shared;
    if (address % n) fault(t, 716, "a misaligned address", place);
    if (address >= in_shared && address + n <= in_shared + SHARED_BYTES) return (void *)(uintptr_t)address;
    if (address < seen_start || address + n > seen_end) {
        Piece *piece = piece_of(address);
        if (!piece || address + n > piece->start + piece->size) fault(t, 700, "an address where nothing is", place);
        seen_start = piece->start;
        seen_end = piece->start + piece->size;
    }
    return (void *)(uintptr_t)address;
}

void *shared_mem(Thread *t, uint64_t address, unsigned n, int place) {
    uint64_t in_shared = (uint64_t)(uintptr_t)shared;
    if (address % n) fault(t, 716, "a misaligned address", place);
    if (address < in_shared || address + n > in_shared + SHARED_BYTES) fault(t, 700, "no shared memory there", place);
    return (void *)(uintptr_t)address;
}
