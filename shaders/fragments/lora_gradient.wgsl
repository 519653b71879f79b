// Functions that add the sums over blocks of tokens to the i64 gradient of a LoRA factor.

// Returns the left shift (if negative, a right shift) that brings a block's sums for rank r to the exponent of this
// gradient, which is the same in all tasks of a network.
fn shift_of_block(block: u32, r: u32) -> i32 {
    return bitcast<i32>(folded[(block * params.rank + r) * 20u + 16u]) - bitcast<i32>(lora_info[params.exponent_at]);
}

// Adds a block's sums to four columns of the gradient of rank r: x to `column`, y to the next one, and so on. Skips a
// rank or column past the last one.
fn add_columns(block: u32, r: u32, column: u32, x: vec2<u32>, y: vec2<u32>, z: vec2<u32>, w: vec2<u32>) {
    if r >= params.rank {
        return;
    }
    let shift = shift_of_block(block, r);
    add(r, column, x, shift);
    add(r, column + 1u, y, shift);
    add(r, column + 2u, z, shift);
    add(r, column + 3u, w, shift);
}

fn add(r: u32, column: u32, sum: vec2<u32>, shift: i32) {
    if column >= width() {
        return;
    }
    let at = (r * width() + column) * 2u;
    let after = accumulate_64(vec2(gradient[at], gradient[at + 1u]), sum, shift);
    gradient[at] = after.value.x;
    gradient[at + 1u] = after.value.y;
    if after.saturated {
        atomicMax(&flag, 1u);
    }
}
