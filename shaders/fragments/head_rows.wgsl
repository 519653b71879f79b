// Writes head rows (the values of one attention head of one token): out[t, head] = round(value / 2^shift), |out| ≤
// 2^14. The file of the kernel has the functions that compute the values (`value_of`) and round them (`rounded_word`).
// One workgroup computes one head of one token; each invocation computes four features at a time.

@compute @workgroup_size(head_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let head = head_of(token, group.x);
    var bits = 0u;
    for (var c = local.x; c < params.head_dim; c += head_lanes) {
        bits = max(bits, bits_64(magnitude_64(value_of(head, c))));
    }
    bits = bitcast<u32>(head_max(local.x, bitcast<i32>(bits)));
    let shift = shift_of(bits, WIDE_BITS);

    let words = row_words(params.head_dim);
    let at = (token * params.heads + group.x) * ((words << 1u) + 4u);
    for (var word = local.x; word < words; word += head_lanes) {
        let values = rounded_word(head, word, shift);
        out[at + word] = wide_high(values);
        out[at + words + word] = wide_low(values);
    }
    if local.x == 0u {
        let exponent = select(head.exponent + bitcast<i32>(shift), ZERO_EXPONENT, bits == 0u);
        let end = at + (words << 1u);
        out[end] = bitcast<u32>(exponent);
        out[end + 1u] = 0u;
        out[end + 2u] = 0u;
        out[end + 3u] = 0u;
    }
}
