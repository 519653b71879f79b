// The gradient of the rotary position embedding: dy = rotate⁻¹(dheads). The gradients of the rotated heads are rotated
// back, rounded with dither, and written as wide rows (integers of magnitude ≤ 2^14, as two int8 planes).
// One workgroup computes one token; each invocation computes four features at a time.

struct Params {
    first_group: u32,
    tokens: u32,
    heads: u32,
    head_dim: u32,
    position_stride: u32,
    head_stride: u32,
    head_offset: u32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dheads: array<i32>; // [tokens, head_stride, head_dim + 4] i32 rows
@group(0) @binding(2) var<storage, read> positions: array<u32>; // [tokens] positions in the sequence
@group(0) @binding(3) var<storage, read> table: array<i32>; // [positions, head_dim / 2, 2] cosine and sine, Q30
@group(0) @binding(4) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(5) var<storage, read_write> dy: array<u32>; // [tokens, heads · head_dim] wide rows
@group(0) @binding(6) var<storage, read_write> dy_info: array<u32>; // [tokens, 4] row info

// Where the attention heads of one token start in `dheads`, where the angles of the token's position start in `table`,
// and the largest exponent of the heads.
struct Token {
    start: u32, // index in dheads of the first value of the token's first head
    angles: u32, // index in the table of the first angle of the token's position
    largest: i32, // largest exponent of the token's heads
    inverse: u32, // floor(2^32 / head_dim) + 1, which maps a column to its head without a division
}

// Returns column c of the token's row after it is rotated back, in units of 2^(token.largest + 1). The values of a head
// with a smaller exponent are rounded to this unit. The magnitude is < 2^62.
fn turned(token: Token, c: u32) -> vec2<u32> {
    let head = multiply_u32(c, token.inverse).y;
    let row = token.start + head * (params.head_dim + 4u);
    let feature = c - head * params.head_dim;
    let half = params.head_dim >> 1u;
    let second = feature >= half;
    let i = select(feature, feature - half, second);
    let cos = table[token.angles + (i << 1u)];
    let sin = table[token.angles + (i << 1u) + 1u];
    let a = multiply_i32(dheads[row + i], select(cos, -sin, second));
    let b = multiply_i32(dheads[row + half + i], select(sin, cos, second));
    let end = row + params.head_dim;
    let product = multiply_64(round_even_64(add_64(a, b), 31u), bitcast<u32>(dheads[end]));
    return round_even_64(product, distance_to(token.largest, dheads[end + 1u]));
}

// Returns column c, divided by 2^shift and rounded with the dither `bits`. Returns 0 in the padding
// (c ≥ heads · head_dim).
fn rounded(token: Token, c: u32, shift: u32, bits: u32) -> i32 {
    if c >= params.heads * params.head_dim {
        return 0i;
    }
    return bitcast<i32>(round_dither_64(turned(token, c), shift, bits).x);
}

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row = group.y + params.first_group;
    let width = params.heads * params.head_dim;
    let start = (row * params.head_stride + params.head_offset) * (params.head_dim + 4u);

    var largest = LOWEST_EXPONENT;
    for (var head = local.x; head < params.heads; head += row_lanes) {
        let end = start + head * (params.head_dim + 4u) + params.head_dim;
        largest = max(largest, select(LOWEST_EXPONENT, dheads[end + 1u], dheads[end] != 0i));
    }
    // `row_max` compares unsigned integers, so each exponent is passed as its distance from LOWEST_EXPONENT.
    let above = vec4(bitcast<u32>(largest - LOWEST_EXPONENT), vec3(0u));
    largest = bitcast<i32>(row_max(local.x, above).x) + LOWEST_EXPONENT;
    largest = select(largest, 0i, largest == LOWEST_EXPONENT);

    let angles = positions[row] * params.position_stride * params.head_dim;
    let token = Token(start, angles, largest, divide(1u, params.head_dim, 32u) + 1u);
    var magnitude = vec2(0u);
    for (var c = local.x; c < width; c += row_lanes) {
        magnitude = max_64(magnitude, magnitude_64(turned(token, c)));
    }
    magnitude = row_max(local.x, vec4(magnitude, vec2(0u))).xy;
    let shift = shift_for(magnitude, WIDE_BITS);

    let key = vec2(dither[2u + (params.stream << 1u)], dither[3u + (params.stream << 1u)]);
    let words = row_words(width);
    let at = row * (words << 1u);
    var sum = 0i;
    for (var word = local.x; word < words; word += row_lanes) {
        let c = word << 2u;
        let dithers = dither_word(key, dither[0] + row, word);
        let values = vec4(
            rounded(token, c, shift, dithers.x),
            rounded(token, c + 1u, shift, dithers.y),
            rounded(token, c + 2u, shift, dithers.z),
            rounded(token, c + 3u, shift, dithers.w),
        );
        dy[at + word] = wide_high(values);
        dy[at + words + word] = wide_low(values);
        sum += sum_of(values);
    }
    let total = row_sum(local.x, vec4(bitcast<u32>(sum), vec3(0u))).x;
    if local.x == 0u {
        let zero = all(magnitude == vec2(0u));
        let exponent = largest + 1i + bitcast<i32>(shift) - 30i;
        dy_info[row << 2u] = select(0x40000000u, 0u, zero);
        dy_info[(row << 2u) + 1u] = select(bitcast<u32>(exponent), 0u, zero);
        dy_info[(row << 2u) + 2u] = total;
        dy_info[(row << 2u) + 3u] = 0u;
    }
}
