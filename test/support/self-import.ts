/**
 * Preloaded (`node --import`) into a process that imports `poolsmith` by name: it gets the sources, so that an
 * example can run without a build.
 */

import { registerHooks } from 'node:module'

const door = new URL('../../src/index.ts', import.meta.url).href

registerHooks({
  resolve: (specifier, context, next) => next(specifier === 'poolsmith' ? door : specifier, context),
})
