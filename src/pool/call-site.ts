/** Where the program asked for a connection: for leak detection. */

/** Layers between the program and us take up the first frames. */
const FRAMES = 30
const LAYERS = /[\\/]node_modules[\\/](?:knex|kysely|mssql)[\\/]|\(node:internal|at new Promise \(<anonymous>\)$/

/** An error whose stack begins at the caller of `callee`. */
export function callSite(callee: (...given: never[]) => unknown): Error {
  const site = new Error('acquired here')
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = Math.max(stackTraceLimit, FRAMES)
  Error.captureStackTrace(site, callee)
  Error.stackTraceLimit = stackTraceLimit
  return site
}

/** Its stack without the frames of the layers between, and of Node. */
export function callerLines(site: Error | undefined): string | undefined {
  return site?.stack
    ?.split('\n')
    .filter((line) => !LAYERS.test(line))
    .join('\n')
}
