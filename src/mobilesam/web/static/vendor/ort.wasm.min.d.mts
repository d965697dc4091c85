// What the page uses of onnxruntime-web, for the type check; engine/runtime.js is its only user.
export const env: any;
export const InferenceSession: any;
export const Tensor: any;
