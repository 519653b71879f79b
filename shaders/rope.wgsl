// The rotary position embedding: out = rotate(y). The rotated values of one attention head of one token form a head
// row, in which they share an exponent.
// This file computes the rounded values; fragments/head_rows.wgsl writes them as head rows.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    head_dim: u32,
    position_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<i32>; // [tokens, heads · head_dim + 4] i32 rows
@group(0) @binding(2) var<storage, read> positions: array<u32>; // [tokens] positions in the sequence
@group(0) @binding(3) var<storage, read> table: array<i32>; // [positions, head_dim / 2, 2] cosine and sine, Q30
@group(0) @binding(4) var<storage, read_write> out: array<u32>; // [tokens, heads] head rows

// Where the values of one attention head of a token start in `y`, where the angles of the token's position start in
// `table`, and the scale of the values.
struct Head {
    start: u32, // index in y of the head's first value
    angles: u32, // index in the table of the first angle of the token's position
    mantissa: u32, // mantissa of the row's scale
    exponent: i32, // exponent of the rotated values
}

fn head_of(token: u32, index: u32) -> Head {
    let width = params.heads * params.head_dim;
    let row = token * (width + 4u);
    let angles = positions[token] * params.position_stride * params.head_dim;
    return Head(row + index * params.head_dim, angles, bitcast<u32>(y[row + width]), y[row + width + 1u] + 1i);
}

// Returns feature c of a rotated head as an integer in units of 2^head.exponent. Its magnitude is < 2^62.
fn value_of(head: Head, c: u32) -> vec2<u32> {
    let half = params.head_dim >> 1u;
    let second = c >= half;
    let i = select(c, c - half, second);
    let cos = table[head.angles + (i << 1u)];
    let sin = table[head.angles + (i << 1u) + 1u];
    let a = multiply_i32(y[head.start + i], select(cos, sin, second));
    let b = multiply_i32(y[head.start + half + i], select(-sin, cos, second));
    return multiply_64(round_even_64(add_64(a, b), 31u), head.mantissa);
}

// Returns features 4 · word to 4 · word + 3, divided by 2^shift and rounded to nearest, ties to even.
fn rounded_word(head: Head, word: u32, shift: u32) -> vec4<i32> {
    let c = word << 2u;
    return vec4(
        rounded(head, c, shift),
        rounded(head, c + 1u, shift),
        rounded(head, c + 2u, shift),
        rounded(head, c + 3u, shift),
    );
}

// Returns feature c, divided by 2^shift and rounded to nearest, ties to even. Returns 0 in the padding (c ≥ head_dim).
fn rounded(head: Head, c: u32, shift: u32) -> i32 {
    if c >= params.head_dim {
        return 0i;
    }
    return bitcast<i32>(round_even_64(value_of(head, c), shift).x);
}
