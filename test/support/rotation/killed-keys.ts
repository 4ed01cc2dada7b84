/** Work on API keys that ends by SIGKILL before or after a write. Run as a process of its own, with its arguments as JSON. */

import { ApiKeys } from '../../../src/rotation/api-keys/api-keys.ts'
import { KeyStore } from '../../../src/rotation/api-keys/key-store.ts'
import { openPlace } from '../../../src/rotation/api-keys/place.ts'
import type { SecretReader } from '../../../src/stores/reader.ts'

const [point, { place, options, action }] = JSON.parse(process.argv[2] ?? '[]')

let reached = 0
function reach(): void {
  if (reached++ === point) process.kill(process.pid, 'SIGKILL')
}

/** The store, which ends the process at its point: before the first write, after it, before the second one … */
function killing(store: SecretReader): SecretReader {
  const write: SecretReader['write'] = async (...args) => {
    reach()
    const written = await store.write?.(...args)
    reach()
    if (written === undefined) throw new Error('The store cannot be written')
    return written
  }
  return new Proxy(store, {
    get(target, name) {
      if (name === 'write') return write
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const opened = await openPlace(place, options.store, options.environment)
using keys = new ApiKeys(new KeyStore({ ...opened, store: killing(opened.store) }), options)
await keys[action as 'generate' | 'rotate' | 'revoke']('billing')
