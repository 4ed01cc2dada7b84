/** A rotation that ends by SIGKILL when it begins a step. Run as a process of its own, with its arguments as JSON. */

import { rotate } from '../../../src/rotation/index.ts'

const [input, environment, last, users, admin] = JSON.parse(process.argv[2] ?? '[]')

await rotate(input, {
  stores: { environment },
  users: users ?? undefined,
  admin: admin ?? undefined,
  onStep: (step) => {
    if (step === last) process.kill(process.pid, 'SIGKILL')
  },
})
