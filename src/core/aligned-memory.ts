/** The part that is used of WebAssembly, which Node's types leave out. */
interface WasmMemory {
  readonly buffer: ArrayBuffer
}
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number }) => WasmMemory
}
const wasmPageBytes = 64 * 1024

/**
 * Memory that begins at a page boundary, as direct I/O needs it: Node has no aligned allocation, but the memory of
 * WebAssembly begins at a page. It takes only what was ever touched. At least `bytes`, and meant to be kept: each
 * reserves gigabytes of addresses.
 */
export function alignedMemory(bytes: number): ArrayBuffer {
  const pages = Math.ceil(bytes / wasmPageBytes)
  return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer
}
