/** Another network on this machine, behind a cable that can be pulled, for tests of networks that die silently. */

import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import type { TestContext } from 'node:test'
import { promisify } from 'node:util'

export interface Cable extends Disposable {
  /** The name of the network namespace at the other end. */
  readonly namespace: string
  readonly ourAddress: string
  readonly theirAddress: string
  /** From now on every packet is lost, in both directions. */
  pull(): Promise<void>
}

/** Skips the test where this process may not make a network namespace, which CI always may. */
export function mayLayCables(t: TestContext): boolean {
  if (process.getuid?.() === 0 && process.platform === 'linux') return true
  assert.notEqual(process.env.CI, 'true', 'this process may not make a network namespace')
  t.skip('This process may not make a network namespace.')
  return false
}

/** Each process has a network of four addresses for itself, in 198.18.0.0/15 (RFC 2544, for tests of networks). */
export function layCable(): Cable {
  const namespace = `poolsmith${process.pid}`
  const [ours, theirs] = [`ps${process.pid}a`, `ps${process.pid}b`]
  const network = (process.pid % 2 ** 15) * 4
  const address = (host: number): string =>
    `198.${18 + (network >> 16)}.${(network >> 8) & 255}.${(network & 255) + host}`
  const [ourAddress, theirAddress] = [address(1), address(2)]
  const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  using laid = new DisposableStack()
  ip('netns', 'add', namespace)
  laid.defer(() => ip('netns', 'delete', namespace))
  ip('link', 'add', ours, 'type', 'veth', 'peer', 'name', theirs, 'netns', namespace)
  // The namespace takes its time to end, and would keep the route.
  laid.defer(() => ip('link', 'delete', ours))
  ip('address', 'add', `${ourAddress}/30`, 'dev', ours)
  ip('link', 'set', ours, 'up')
  ip('-n', namespace, 'address', 'add', `${theirAddress}/30`, 'dev', theirs)
  ip('-n', namespace, 'link', 'set', theirs, 'up')
  const kept = laid.move()
  return {
    namespace,
    ourAddress,
    theirAddress,
    async pull() {
      await promisify(execFile)('ip', ['-n', namespace, 'link', 'set', theirs, 'down'])
    },
    [Symbol.dispose]: () => kept.dispose(),
  }
}
