// Sums over a matrix by the threads of one block, without atomics: the order
// of the terms depends on the sizes and the number of threads alone.
//
// Before this text come: real (float or double), MOST_THREADS and the structs
// of dnc/engine/tape.py. Every function below is called by all threads of a block,
// and everything that it wrote is visible to all of them when it returns.

#define HEADS_AT_ONCE 4  // whose sums a thread holds in registers
#define DEPTH 4          // loads in flight per thread
#define SEGMENTS 32      // threads that share a row

// Threads as (column, slice of the rows): neighbours read neighbours.
//
// load(i, j) fetches what add(i, j, loaded, sums) needs; store(j, sums)
// receives COUNT sums over the rows i of column j. scratch: shared memory,
// COUNT numbers per thread.
template <int COUNT, class Load, class Add, class Store>
__device__ void column_sums(real *scratch, int rows, int columns, Load load,
                            Add add, Store store) {
    int threads = blockDim.x, me = threadIdx.x;
    int wide = columns < threads ? columns : threads;
    int slices = threads / wide;
    int column = me % wide, slice = me / wide;
    for (int first = 0; first < columns; first += wide) {
        int j = first + column;
        bool mine = slice < slices && j < columns;
        real sums[COUNT] = {};
        for (int i = slice; mine && i < rows; i += DEPTH * slices) {
            decltype(load(0, 0)) loaded[DEPTH] = {};
#pragma unroll
            for (int d = 0; d < DEPTH; ++d)
                if (i + d * slices < rows) loaded[d] = load(i + d * slices, j);
#pragma unroll
            for (int d = 0; d < DEPTH; ++d)
                if (i + d * slices < rows)
                    add(i + d * slices, j, loaded[d], sums);
        }
        if (slices > 1) {
            if (mine)
                for (int q = 0; q < COUNT; ++q)
                    scratch[(q * slices + slice) * wide + column] = sums[q];
            __syncthreads();
            for (int s = 1; mine && slice == 0 && s < slices; ++s)
                for (int q = 0; q < COUNT; ++q)
                    sums[q] += scratch[(q * slices + s) * wide + column];
        }
        if (mine && slice == 0) store(j, sums);
        __syncthreads();  // scratch is free again, what was stored is there
    }
}

// Threads as (row, segment of the columns); store(q, i, sum) receives each of
// the COUNT sums of row i. scratch: shared memory, COUNT numbers per thread
// and per row that is worked on at once.
template <int COUNT, class Load, class Add, class Store>
__device__ void row_sums(real *scratch, int rows, int columns, Load load,
                         Add add, Store store) {
    int threads = blockDim.x, me = threadIdx.x;
    int segments = threads < SEGMENTS ? threads : SEGMENTS;
    int high = threads / segments, pitch = segments + 1;
    int segment = me % segments, row = me / segments;
    for (int first = 0; first < rows; first += high) {
        int i = first + row;
        bool mine = row < high && i < rows;
        real sums[COUNT] = {};
        for (int j = segment; mine && j < columns; j += DEPTH * segments) {
            decltype(load(0, 0)) loaded[DEPTH] = {};
#pragma unroll
            for (int d = 0; d < DEPTH; ++d)
                if (j + d * segments < columns)
                    loaded[d] = load(i, j + d * segments);
#pragma unroll
            for (int d = 0; d < DEPTH; ++d)
                if (j + d * segments < columns)
                    add(i, j + d * segments, loaded[d], sums);
        }
        if (mine)
            for (int q = 0; q < COUNT; ++q)
                scratch[(q * high + row) * pitch + segment] = sums[q];
        __syncthreads();
        for (int task = me; task < COUNT * high; task += threads) {
            if (first + task % high >= rows) continue;
            real total = 0;
            for (int s = 0; s < segments; ++s)
                total += scratch[task * pitch + s];
            store(task / high, first + task % high, total);
        }
        __syncthreads();
    }
}

// out[i] = largest value(i, j) of each row; NaN counts or not, as it comes.
template <class Value>
__device__ void row_maxima(real *scratch, int rows, int columns, real *out,
                           Value value) {
    int threads = blockDim.x, me = threadIdx.x;
    int segments = threads < SEGMENTS ? threads : SEGMENTS;
    int high = threads / segments, pitch = segments + 1;
    int segment = me % segments, row = me / segments;
    for (int first = 0; first < rows; first += high) {
        int i = first + row;
        if (row < high && i < rows) {
            real best = value(i, 0);
            for (int j = segment; j < columns; j += segments) {
                real x = value(i, j);
                best = x > best ? x : best;
            }
            scratch[row * pitch + segment] = best;
        }
        __syncthreads();
        if (me < high && first + me < rows) {
            real best = scratch[me * pitch];
            for (int s = 1; s < segments; ++s) {
                real x = scratch[me * pitch + s];
                best = x > best ? x : best;
            }
            out[first + me] = best;
        }
        __syncthreads();
    }
}

// body(k) for every k < count.
template <class Body>
__device__ void each(int count, Body body) {
    for (int k = threadIdx.x; k < count; k += blockDim.x) body(k);
    __syncthreads();
}

// Lists, in order, what of count items is wanted: put(position, k) for every
// k with wanted(k). Returns how many. counts: shared memory, an int per
// thread and one more.
template <class Wanted, class Put>
__device__ int list_wanted(int *counts, int count, Wanted wanted, Put put) {
    int threads = blockDim.x, me = threadIdx.x;
    int share = count / threads + (count % threads != 0);
    int start = me * share < count ? me * share : count;
    int stop = count - start < share ? count : start + share;
    int found = 0;
    for (int k = start; k < stop; ++k) found += wanted(k);
    counts[me] = found;
    __syncthreads();
    if (me == 0) {
        int total = 0;
        for (int n = 0; n < threads; ++n) {
            int own = counts[n];
            counts[n] = total;
            total += own;
        }
        counts[threads] = total;
    }
    __syncthreads();
    int position = counts[me], total = counts[threads];
    for (int k = start; k < stop; ++k)
        if (wanted(k)) put(position++, k);
    __syncthreads();
    return total;
}
