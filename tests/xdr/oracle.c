/*
 * Real XDR routines as an oracle.  Reads frames (type number, length, data), decodes the data with the routine
 * that rpcgen made, and answers (1, position, length, encoded again) or (0, 0, 0).  Type number 100 asks for a value
 * that is made here, in C.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "oracle.h"

#define MOST (1 << 22)

static struct { xdrproc_t routine; size_t size; } types[] = {
    { (xdrproc_t)xdr_scalars, sizeof(scalars) }, { (xdrproc_t)xdr_data, sizeof(data) },
    { (xdrproc_t)xdr_arrays, sizeof(arrays) },   { (xdrproc_t)xdr_choice, sizeof(choice) },
    { (xdrproc_t)xdr_answer, sizeof(answer) },   { (xdrproc_t)xdr_number, sizeof(number) },
    { (xdrproc_t)xdr_nodes, sizeof(nodes) },     { (xdrproc_t)xdr_tree, sizeof(tree) },
    { (xdrproc_t)xdr_all, sizeof(all) },
};

static char in[MOST], out[MOST];

static void answer_with(uint32_t ok, uint32_t position, uint32_t size)
{
    uint32_t head[3] = { ok, position, size };
    fwrite(head, sizeof head, 1, stdout);
    fwrite(out, 1, size, stdout);
    fflush(stdout);
}

static void made_here(void)
{
    static int many[] = { 7, -8 };
    static double doubles[] = { -0.5 };
    static bool_t flags[] = { TRUE, FALSE };
    static point points[] = { { 1, 2 }, { -3, -4 } };
    static name names[] = { "one", "", "three" };
    static node second = { 2, { KIND_DIR }, NULL }, first = { 1, { KIND_FILE }, &second };
    static tree leaf = { 9, NULL, NULL }, root = { 8, NULL, &leaf };
    all v;
    XDR x;
    bool_t good;

    memset(&v, 0, sizeof v);
    v.s = (scalars){ -1, 4000000000u, -5000000000LL, 18000000000000000000ULL, 1.5f, -2.25, TRUE, KIND_ODD, -300, 200 };
    memcpy(v.d.fixed, "\001\002\003\004\005\006", 6);
    v.d.variable.variable_val = "abcde";
    v.d.variable.variable_len = 5;
    v.d.text = "text";
    v.d.open = "longer text";
    v.a.grid[0] = 1, v.a.grid[1] = -2, v.a.grid[2] = 3;
    v.a.many.ints_val = many, v.a.many.ints_len = 2;
    v.a.points.points_val = points, v.a.points.points_len = 2;
    v.a.names.names_val = names, v.a.names.names_len = 3;
    v.a.doubles.doubles_val = doubles, v.a.doubles.doubles_len = 1;
    v.a.kinds[0] = KIND_DIR, v.a.kinds[1] = KIND_ODD;
    v.a.flags.flags_val = flags, v.a.flags.flags_len = 2;
    v.c.which = KIND_ODD, v.c.choice_u.other = "odd";
    v.w.ok = TRUE, v.w.answer_u.value = -6;
    v.n.n = 2, v.n.number_u.small = 5;
    first.what.choice_u.place = (point){ 5, 6 };
    v.list = &first;
    v.t = &root;
    v.maybe = &points[1];
    xdrmem_create(&x, out, MOST, XDR_ENCODE);
    good = xdr_all(&x, &v);
    answer_with(good, 0, xdr_getpos(&x));
}

int main(void)
{
    uint32_t head[2];

    while (fread(head, sizeof head, 1, stdin) == 1) {
        XDR x;
        void *value;
        uint32_t position;

        if (head[1] > MOST || fread(in, 1, head[1], stdin) != head[1])
            return 1;
        if (head[0] == 100) {
            made_here();
            continue;
        }
        value = calloc(1, types[head[0]].size);
        xdrmem_create(&x, in, head[1], XDR_DECODE);
        if (!types[head[0]].routine(&x, value)) {
            answer_with(0, 0, 0);
            continue;
        }
        position = xdr_getpos(&x);
        xdrmem_create(&x, out, MOST, XDR_ENCODE);
        if (types[head[0]].routine(&x, value))
            answer_with(1, position, xdr_getpos(&x));
        else
            answer_with(0, 0, 0);
        xdr_free(types[head[0]].routine, value);
        free(value);
    }
    return 0;
}
