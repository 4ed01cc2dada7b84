/** A rotation that ends by SIGKILL when it begins a step. Run as a process of its own, with its arguments as JSON. */

import type { ConnectionInput } from '../../../src/index.ts'
import { rotate, rotateCertificate, rotateKeytab } from '../../../src/rotation/index.ts'

/** The rotation of each kind of credential. */
const KINDS = { password: rotate, keytab: rotateKeytab, certificate: rotateCertificate } as const

export type KilledKind = keyof typeof KINDS

const [kind, input, options, last] = JSON.parse(process.argv[2] ?? '[]') as [KilledKind, object, object, string]

const run = KINDS[kind] as (input: ConnectionInput, options: object) => Promise<unknown>
await run(input as ConnectionInput, {
  ...options,
  onStep: (step: string) => {
    if (step === last) process.kill(process.pid, 'SIGKILL')
  },
})
