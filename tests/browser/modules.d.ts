// Types of modules that a page imports by their paths.

declare module "*/ort.webgpu.bundle.min.mjs" {
  export * from "onnxruntime-web/webgpu";
}

declare module "*/ort.wasm.bundle.min.mjs" {
  export * from "onnxruntime-web/wasm";
}
