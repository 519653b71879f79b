// Lanes: the 128 invocations of a workgroup, and what they know together. Call from uniform control flow.

const LANES = 128u;

var<workgroup> lanes: array<vec2<u32>, 128>;

// The largest value of any lane.
fn lanes_max(lane: u32, value: i32) -> i32 {
    workgroupBarrier();
    lanes[lane] = vec2(bitcast<u32>(value), 0u);
    workgroupBarrier();
    for (var half = LANES >> 1u; half > 0u; half = half >> 1u) {
        if lane < half {
            let other = max(bitcast<i32>(lanes[lane].x), bitcast<i32>(lanes[lane + half].x));
            lanes[lane] = vec2(bitcast<u32>(other), 0u);
        }
        workgroupBarrier();
    }
    return bitcast<i32>(lanes[0].x);
}

// The sum of all lanes' values mod 2^64.
fn lanes_sum(lane: u32, value: vec2<u32>) -> vec2<u32> {
    workgroupBarrier();
    lanes[lane] = value;
    workgroupBarrier();
    for (var half = LANES >> 1u; half > 0u; half = half >> 1u) {
        if lane < half {
            lanes[lane] = add_64(lanes[lane], lanes[lane + half]);
        }
        workgroupBarrier();
    }
    return lanes[0];
}

// The largest values, by component, of the 32 lanes of this lane's block.
fn block_max(lane: u32, value: vec2<u32>) -> vec2<u32> {
    workgroupBarrier();
    lanes[lane] = value;
    workgroupBarrier();
    let first = lane & 96u;
    var largest = lanes[first];
    for (var i = 1u; i < 32u; i++) {
        largest = max(largest, lanes[first + i]);
    }
    return largest;
}
