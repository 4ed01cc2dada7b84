/** A statement that is sent into a network which has died: noticed by the kernel's own word. */

import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { AcknowledgementGuard } from '../../src/drivers/network/acknowledgement.ts'

const run = promisify(execFile)
const NAMESPACE = `poolsmith${process.pid}`
const [OURS, THEIRS] = [`ps${process.pid}a`, `ps${process.pid}b`]
/** RFC 5737, TEST-NET-2: for documentation. */
const [OUR_ADDRESS, THEIR_ADDRESS] = ['198.51.100.1', '198.51.100.2']

/** Another network on this machine, behind a cable that can be pulled. Undefined where this process may not have one. */
function layCable(): ({ pull(): Promise<unknown> } & Disposable) | undefined {
  const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'ignore' })
  try {
    ip('netns', 'add', NAMESPACE)
  } catch {
    return undefined
  }
  const end = (): void => ip('netns', 'delete', NAMESPACE)
  try {
    ip('link', 'add', OURS, 'type', 'veth', 'peer', 'name', THEIRS, 'netns', NAMESPACE)
    ip('address', 'add', `${OUR_ADDRESS}/24`, 'dev', OURS)
    ip('link', 'set', OURS, 'up')
    ip('-n', NAMESPACE, 'address', 'add', `${THEIR_ADDRESS}/24`, 'dev', THEIRS)
    ip('-n', NAMESPACE, 'link', 'set', THEIRS, 'up')
  } catch {
    end()
    return undefined
  }
  return { pull: () => run('ip', ['-n', NAMESPACE, 'link', 'set', THEIRS, 'down']), [Symbol.dispose]: end }
}

const SERVER = `
  const server = require('node:net').createServer((socket) => socket.on('error', () => 0).resume())
  server.listen(0, '0.0.0.0', () => process.stdout.write(server.address().port + '\\n'))
`

test('the session is ended within a few looks, and one whose server is only slow is not', async (t) => {
  using cable = layCable()
  if (cable === undefined) {
    assert.notEqual(process.env.CI, 'true', 'this process may not make a network namespace')
    return t.skip('This process may not make a network namespace.')
  }
  const server = spawn('ip', ['netns', 'exec', NAMESPACE, process.execPath, '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => server.kill('SIGKILL'))
  const [line] = (await once(server.stdout, 'data')) as [Buffer]
  const socket = connect(Number(line.toString()), THEIR_ADDRESS)
  t.after(() => socket.destroy())
  let failure: Error | undefined
  socket.on('error', (error) => {
    failure = error
  })
  await once(socket, 'connect')
  const guard = new AcknowledgementGuard({ periodMillis: 700 })
  guard.watch(socket, socket, () => true)
  socket.write('a statement that takes long')
  await new Promise((resolve) => setTimeout(resolve, 3500))
  assert.equal(failure, undefined, 'the server has the statement, and takes its time')
  await cable.pull()
  socket.write('a statement that is lost')
  await new Promise((resolve) => socket.once('close', resolve))
  assert.equal(Reflect.get(failure ?? {}, 'code'), 'ETIMEDOUT')
})
