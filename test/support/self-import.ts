/**
 * Preloaded (`node --import`) into a process that imports `poolsmith` by name: each entry point resolves to its source,
 * so that an example can run without a build.
 */

import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'

const root = new URL('../../', import.meta.url)
const { exports: doors } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
  readonly exports: Readonly<Record<string, string | { readonly default: string }>>
}
const sources = new Map<string, string>()
for (const [door, target] of Object.entries(doors)) {
  if (typeof target === 'string') continue
  const source = target.default.replace(/^\.\/dist\//, 'src/').replace(/\.js$/, '.ts')
  sources.set(door.replace(/^\./, 'poolsmith'), new URL(source, root).href)
}

registerHooks({
  resolve: (specifier, context, next) => next(sources.get(specifier) ?? specifier, context),
})
