// The edge where the platform has no WebCrypto for its keys: then jwt-simple checks the signatures,
// in wasm. Only the platform is changed here, the edge is the one that is deployed.

const refuse = () => Promise.reject(new DOMException("not on this platform", "NotSupportedError"));

SubtleCrypto.prototype.importKey = refuse;

export { default } from "./index.js";
