// The gradient of the feed-forward nonlinearity: dgate = 2 · relu(gate) · up · dout and dup = relu(gate)² · dout. Both
// are written as wide rows (integers of magnitude ≤ 2^14, as two int8 planes). One workgroup computes one row; each
// invocation computes four elements at a time.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    gate_stream: u32,
    up_stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dout: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(2) var<storage, read> gate: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(3) var<storage, read> up: array<i32>; // [tokens, width + 4] i32 rows
@group(0) @binding(4) var<storage, read> dither: array<u32>; // index of the first token, 0, keys of the streams
@group(0) @binding(5) var<storage, read_write> dgate: array<u32>; // [tokens, width] wide rows
@group(0) @binding(6) var<storage, read_write> dgate_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(7) var<storage, read_write> dup: array<u32>; // [tokens, width] wide rows
@group(0) @binding(8) var<storage, read_write> dup_info: array<u32>; // [tokens, 4] row info

// Returns dgate / 2 and dup of one element as 64-bit integers, before they are rounded. Both are ≤ 2^59 in magnitude.
// Returns 0 past the end of the row.
fn products(at: u32, column: u32, gate_shift: u32, up_shift: u32) -> vec4<u32> {
    if column >= params.width {
        return vec4(0u);
    }
    let g = round_even_i32(max(gate[at + column], 0i), gate_shift);
    let u = round_even_i32(up[at + column], up_shift);
    let d = dout[at + column];
    return vec4(multiply_i32(g * u, d), multiply_i32(g * g, d));
}

fn rounded(a: vec2<u32>, b: vec2<u32>, c: vec2<u32>, d: vec2<u32>, shift: u32, dithers: vec4<u32>) -> vec4<i32> {
    return bitcast<vec4<i32>>(vec4(
        round_dither_64(a, shift, dithers.x).x,
        round_dither_64(b, shift, dithers.y).x,
        round_dither_64(c, shift, dithers.z).x,
        round_dither_64(d, shift, dithers.w).x,
    ));
}

fn stream(index: u32) -> vec2<u32> {
    return vec2(dither[2u + 2u * index], dither[3u + 2u * index]);
}

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let lane = local.x;
    let at = token * (params.width + 4u);
    let words = row_words(params.width);

    var best = vec4(0u);
    for (var column = lane; column < params.width; column += row_lanes) {
        best = max_pair(best, vec4(magnitude_i32(max(gate[at + column], 0i)), magnitude_i32(up[at + column])));
    }
    best = row_max(lane, best);
    let gate_shift = shift_for(best.xy, WIDE_BITS);
    let up_shift = shift_for(best.zw, WIDE_BITS);

    best = vec4(0u);
    for (var column = lane; column < params.width; column += row_lanes) {
        let pair = products(at, column, gate_shift, up_shift);
        best = max_pair(best, vec4(magnitude_64(pair.xy), magnitude_64(pair.zw)));
    }
    best = row_max(lane, best);
    let dgate_shift = shift_for(best.xy, WIDE_BITS);
    let dup_shift = shift_for(best.zw, WIDE_BITS);

    let position = dither[0] + token;
    var sums = vec4(0u);
    for (var word = lane; word < words; word += row_lanes) {
        let column = word << 2u;
        let a = products(at, column, gate_shift, up_shift);
        let b = products(at, column + 1u, gate_shift, up_shift);
        let c = products(at, column + 2u, gate_shift, up_shift);
        let d = products(at, column + 3u, gate_shift, up_shift);
        let gate_dithers = dither_word(stream(params.gate_stream), position, word);
        let gates = rounded(a.xy, b.xy, c.xy, d.xy, dgate_shift, gate_dithers);
        let ups = rounded(a.zw, b.zw, c.zw, d.zw, dup_shift, dither_word(stream(params.up_stream), position, word));
        dgate[token * 2u * words + word] = wide_high(gates);
        dgate[(token * 2u + 1u) * words + word] = wide_low(gates);
        dup[token * 2u * words + word] = wide_high(ups);
        dup[(token * 2u + 1u) * words + word] = wide_low(ups);
        sums = add_pair(sums, vec4(extend_64(sum_of(gates)), extend_64(sum_of(ups))));
    }
    sums = row_sum(lane, sums);

    if lane == 0u {
        let end = at + params.width;
        let dout_scale = Scale(bitcast<u32>(dout[end]), dout[end + 1u]);
        let gate_scale = scale_shift(Scale(bitcast<u32>(gate[end]), gate[end + 1u]), bitcast<i32>(gate_shift));
        let up_scale = scale_shift(Scale(bitcast<u32>(up[end]), up[end + 1u]), bitcast<i32>(up_shift));
        let gate_unit = scale_multiply(scale_multiply(gate_scale, up_scale), dout_scale);
        let up_unit = scale_multiply(scale_multiply(gate_scale, gate_scale), dout_scale);
        let info = token * 4u;
        let dgate_unit = scale_shift(gate_unit, bitcast<i32>(dgate_shift) + 1i);
        dgate_info[info] = dgate_unit.mantissa;
        dgate_info[info + 1u] = bitcast<u32>(dgate_unit.exponent);
        dgate_info[info + 2u] = sums.x;
        dgate_info[info + 3u] = 0u;
        let dup_unit = scale_shift(up_unit, bitcast<i32>(dup_shift));
        dup_info[info] = dup_unit.mantissa;
        dup_info[info + 1u] = bitcast<u32>(dup_unit.exponent);
        dup_info[info + 2u] = sums.z;
        dup_info[info + 3u] = 0u;
    }
}
