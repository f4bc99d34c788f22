/* SPDX-License-Identifier: Apache-2.0
 *
 * test_lockbench.c -- the quantiles that lockbench prints are those of the values.
 */
#include "tools/lockbench.h"

/* A tool is no library to link with. */
#include "tools/lockbench_histogram.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
/* Behind the four that it needs. */
#include <cmocka.h>

enum { VALUES = 20000 };

static struct histogram histogram;

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Within a bucket above the true value: never below it, and less than 1 % above. */
static void expect_near(uint64_t value, uint64_t found)
{
    assert_true(found >= value);
    assert_true(found - value <= value / HISTOGRAM_FINE);
}

static void quantiles_are_near_the_sorted_values(void **state)
{
    (void)state;
    static uint64_t values[VALUES];
    uint64_t random = 1;
    memset(&histogram, 0, sizeof histogram);
    for (uint32_t i = 0; i < VALUES; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        values[i] = (random >> 33) % (UINT64_C(1) << (i % 25)); /* Of all magnitudes. */
        histogram_add(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof values[0], compare);
    static const double shares[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        const size_t rank = (size_t)(shares[i] * VALUES + 0.5);
        expect_near(values[rank - 1], histogram_quantile(&histogram, shares[i]));
    }
    assert_int_equal(histogram.count, VALUES);
    assert_int_equal(histogram.max, values[VALUES - 1]);
}

static void every_bucket_ends_where_the_next_begins(void **state)
{
    (void)state;
    uint32_t row = 0, column = 0, last_row = 0, last_column = 0;
    for (uint64_t value = 1; value < 100000; value++) {
        place(value, &row, &column);
        assert_true(value <= value_at(row, column));
        if (row != last_row || column != last_column) {
            assert_int_equal(value_at(last_row, last_column), value - 1);
        }
        last_row = row;
        last_column = column;
    }
}

static void nothing_and_too_much(void **state)
{
    (void)state;
    memset(&histogram, 0, sizeof histogram);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    histogram_add(&histogram, UINT64_MAX);
    assert_int_equal(histogram.max, UINT64_MAX);
    assert_true(histogram_quantile(&histogram, 0.5) >= UINT64_C(1) << 38);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_near_the_sorted_values),
        cmocka_unit_test(every_bucket_ends_where_the_next_begins),
        cmocka_unit_test(nothing_and_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
