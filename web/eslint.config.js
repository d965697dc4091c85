/** Lint of the page and of its tests; eslint's recommended rules, and the house's. */

import js from "@eslint/js";

const rules = {
  ...js.configs.recommended.rules,
  "no-undef": "off", // the type check does this better
  eqeqeq: "error",
  "no-var": "error",
  "prefer-const": "error",
  "no-eval": "error",
  "max-lines": ["error", 420],
  "max-lines-per-function": ["error", 60],
};

export default [
  { files: ["**/*.js"], rules },
  { ignores: ["**/vendor/**", "**/node_modules/**"] },
];
