/** Preloaded into a process: the packages of OpenTelemetry are those of examples/telemetry, for poolsmith too. */

import { registerHooks } from 'node:module'

const folder = new URL('../../../examples/telemetry/package.json', import.meta.url).href
registerHooks({
  resolve: (specifier, context, next) =>
    next(
      specifier,
      specifier.startsWith('@opentelemetry/') && context.parentURL?.includes('/src/telemetry/')
        ? { ...context, parentURL: folder }
        : context,
    ),
})
