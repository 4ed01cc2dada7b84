/** A statement that is sent into a network which has died: noticed by the kernel's own word. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { AcknowledgementGuard } from '../../src/drivers/network/acknowledgement.ts'
import { layCable, mayLayCables } from '../support/cable.ts'

const SERVER = `
  const server = require('node:net').createServer((socket) => socket.on('error', () => 0).resume())
  server.listen(0, '0.0.0.0', () => process.stdout.write(server.address().port + '\\n'))
`

test('the session is ended within a few looks, and one whose server is only slow is not', async (t) => {
  if (!mayLayCables(t)) return
  using cable = layCable()
  const server = spawn('ip', ['netns', 'exec', cable.namespace, process.execPath, '-e', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => server.kill('SIGKILL'))
  const [line] = (await once(server.stdout, 'data')) as [Buffer]
  const socket = connect(Number(line.toString()), cable.theirAddress)
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
