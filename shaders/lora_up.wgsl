// Adds the adapter's contribution to the ternary product of a linear layer: y[t, i] = product[t, i] · 2^fraction_bits +
// ratio · Σ_r u[t, r] · factor[i, r]. The sum is over all r < rank, and `ratio` converts it to the unit of y. One
// invocation computes one element.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    rank: u32,
    slot: u32,
    slots: u32,
    fraction_bits: u32,
    ratio_at: u32,
    product_scale: u32,
    product_scale_exponent: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(2) var<storage, read> u: array<u32>; // [tokens, rank] wide rows
@group(0) @binding(3) var<storage, read> u_info: array<u32>; // [tokens, 4] row info
@group(0) @binding(4) var<storage, read> factor: array<u32>; // [width, rank] wide rows
@group(0) @binding(5) var<storage, read> lora_info: array<u32>; // at ratio_at: 24-bit mantissa, right shift
@group(0) @binding(6) var<storage, read_write> y: array<i32>; // [tokens, slots, width + 4] i32 rows: product, then y
@group(0) @binding(7) var<storage, read_write> flag: atomic<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let at = (token * params.slots + params.slot) * (params.width + 4u);
    let column = group.x * 64u + local.x;
    if column == 0u {
        let row = Scale(x_info[token * 4u], bitcast<i32>(x_info[token * 4u + 1u]));
        let unit = scale_multiply(row, Scale(params.product_scale, params.product_scale_exponent));
        let info = at + params.width;
        y[info] = bitcast<i32>(unit.mantissa);
        y[info + 1u] = unit.exponent;
        y[info + 2u] = 0i;
        y[info + 3u] = 0i;
    }
    if column >= params.width {
        return;
    }
    let product = y[at + column];
    if params.rank == 0u {
        y[at + column] = bitcast<i32>(bitcast<u32>(product) << (params.fraction_bits & 31u));
        return;
    }
    let words = row_words(params.rank);
    var high = 0i;
    var middle = 0i;
    var low = 0i;
    for (var word = 0u; word < ((params.rank + 3u) >> 2u); word++) {
        let u_high = u[token * 2u * words + word];
        let u_low = u[(token * 2u + 1u) * words + word];
        let factor_high = factor[column * 2u * words + word];
        let factor_low = factor[(column * 2u + 1u) * words + word];
        high += dot4I8Packed(u_high, factor_high);
        middle += dot4I8Packed(u_high, factor_low) + dot4I8Packed(u_low, factor_high);
        low += dot4I8Packed(u_low, factor_low);
    }
    // The magnitude of `sum` is ≤ 2^28 · 64 · 2^24, because the elements of `u` and `factor` are ≤ 2^14, the rank is ≤
    // 64, and the ratio is ≤ 2^24.
    let sum = multiply_64(join_planes(high, middle, low), lora_info[params.ratio_at]);
    let right = bitcast<i32>(lora_info[params.ratio_at + 1u]);
    let share = shift_to_i32(sum, right - (bitcast<i32>(u_info[token * 4u + 1u]) + 30i));
    let shifted = shift_left_64(extend_64(product), params.fraction_bits);
    let result = saturate_64(add_64(shifted, extend_64(share.value)));
    y[at + column] = result.value;
    if share.saturated || result.saturated {
        atomicMax(&flag, 1u);
    }
}
