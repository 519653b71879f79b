// Rounds the gradient of attention's output with dither: out = dither_round(gradient). The values of one attention head
// of one token form a head row, in which they share an exponent.
// This file computes the rounded values; fragments/head_rows.wgsl writes them as head rows.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    head_dim: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<i32>; // [tokens, heads · head_dim + 4] i32 rows
@group(0) @binding(2) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(3) var<storage, read_write> out: array<u32>; // [tokens, heads] head rows

// Where the values of one attention head of a token start in `gradient`, the scale of these values, and the row index
// from which their dithers are generated.
struct Head {
    start: u32, // index in gradient of the head's first value
    index: u32, // row of the dither: (index of the token in the chunk) · heads + head
    mantissa: u32, // mantissa of the row's scale
    exponent: i32, // exponent of the values
}

fn head_of(token: u32, index: u32) -> Head {
    let width = params.heads * params.head_dim;
    let row = token * (width + 4u);
    let dither_row = (dither[0] + token) * params.heads + index;
    let end = row + width;
    return Head(row + index * params.head_dim, dither_row, bitcast<u32>(gradient[end]), gradient[end + 1u]);
}

// Returns feature c of a head as an integer in units of 2^head.exponent. Its magnitude is < 2^62.
fn value_of(head: Head, c: u32) -> vec2<u32> {
    return multiply_64(extend_64(gradient[head.start + c]), head.mantissa);
}

// Returns the elements of the gradient for the four features from 4 · word on, each divided by 2^shift and rounded with
// its own dither.
fn rounded_word(head: Head, word: u32, shift: u32) -> vec4<i32> {
    let c = word << 2u;
    let key = vec2(dither[2u + (params.stream << 1u)], dither[3u + (params.stream << 1u)]);
    let dithers = dither_word(key, head.index, word);
    return vec4(
        rounded(head, c, shift, dithers.x),
        rounded(head, c + 1u, shift, dithers.y),
        rounded(head, c + 2u, shift, dithers.z),
        rounded(head, c + 3u, shift, dithers.w),
    );
}

// Returns feature c, divided by 2^shift and rounded with the dither `bits`. Returns 0 in the padding (c ≥ head_dim).
fn rounded(head: Head, c: u32, shift: u32, bits: u32) -> i32 {
    if c >= params.head_dim {
        return 0i;
    }
    return bitcast<i32>(round_dither_64(value_of(head, c), shift, bits).x);
}
