#ifndef THREADS_H
#define THREADS_H
#include "gpu.h"

typedef struct { uint64_t start, size; int device; } Piece;

int run_grid(Kernel, const unsigned grid[3], const unsigned block[3], void **arguments);
void add_piece(uint64_t start, uint64_t size, int device);
int remove_piece(uint64_t start);
Piece *piece_of(uint64_t address);
extern char launch_error[256];
extern int launch_code, reversed;
extern long switches;
#endif
