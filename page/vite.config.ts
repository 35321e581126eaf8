import { defineConfig } from "vite";

// nothing is inlined: the page is served with a policy that forbids inline scripts
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/voxhint/serve/page",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 4000,
  },
});
