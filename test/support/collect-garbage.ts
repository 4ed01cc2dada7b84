import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')

/** Runs V8's whole garbage collection: what is in memory afterwards is still referenced. */
export const collectGarbage = runInNewContext('gc') as () => void
