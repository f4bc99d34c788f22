/* SPDX-License-Identifier: Apache-2.0
 *
 * lockbench_histogram.c -- latencies, in constant memory and to within 1 %.
 */
#include "tools/lockbench.h"

#include <assert.h>

/* A value v in [2^p, 2^(p+1)) of power row p - 6 stands with the 7 bits below its
 * highest; what is below 128 stands exactly, in row 0. */
enum { FINE_BITS = 7 };

static_assert(HISTOGRAM_FINE == 1 << FINE_BITS, "a row has a bucket for each pattern of bits");

static void place(uint64_t value, uint32_t *ret_row, uint32_t *ret_column)
{
    *ret_row = 0;
    while (value >= 2 * HISTOGRAM_FINE) {
        value >>= 1;
        (*ret_row)++;
    }
    if (value >= HISTOGRAM_FINE) {
        (*ret_row)++;
        value -= HISTOGRAM_FINE;
    }
    *ret_column = (uint32_t)value;
}

/* The largest value of a bucket. */
static uint64_t value_at(uint32_t row, uint32_t column)
{
    return row == 0 ? column : ((UINT64_C(1) * HISTOGRAM_FINE + column + 1) << (row - 1)) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    uint32_t row, column;
    place(value, &row, &column);
    if (row >= HISTOGRAM_POWERS) {
        row = HISTOGRAM_POWERS - 1;
        column = HISTOGRAM_FINE - 1;
    }
    h->counts[row][column]++;
    h->count++;
    h->max = value > h->max ? value : h->max;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    const double goal = share * (double)h->count;
    uint64_t seen = 0;
    for (uint32_t row = 0; row < HISTOGRAM_POWERS; row++) {
        for (uint32_t column = 0; column < HISTOGRAM_FINE; column++) {
            seen += h->counts[row][column];
            if (h->counts[row][column] > 0 && (double)seen >= goal) {
                const uint64_t value = value_at(row, column);
                return value < h->max ? value : h->max;
            }
        }
    }
    return h->max;
}
