import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { connectReadingInPlace, inPlace } from '../../../../src/drivers/network/read-in-place.ts'

/** A socket whose peer says the words when it is asked to. */
interface Pair extends AsyncDisposable {
  readonly socket: Socket
  say(words: string): void
}

const server = createServer()

before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
after(() => server.close())

async function pair(): Promise<Pair> {
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = connectReadingInPlace({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  const [peer] = await accepted
  return {
    socket,
    say: (words) => void peer.write(words),
    [Symbol.asyncDispose]: async () => {
      peer.destroy()
      socket.destroy()
    },
  }
}

/** Collects what a listener is given, as text, and the memory of each chunk. */
function listener() {
  const memories = new Set<ArrayBufferLike>()
  let text = ''
  let wanted = Promise.withResolvers<void>()
  let end = ''
  const take = (chunk: Buffer): void => {
    memories.add(chunk.buffer)
    text += chunk.toString()
    if (text.endsWith(end)) wanted.resolve()
  }
  const heard = async (words: string): Promise<string> => {
    end = words
    if (text.endsWith(words)) return text
    wanted = Promise.withResolvers()
    await wanted.promise
    return text
  }
  return { take, heard, memories }
}

describe('a listener to the data of a socket that reads into the same memory', () => {
  test('is given that memory if it is made for it', async () => {
    await using one = await pair()
    await using two = await pair()
    const first = listener()
    const second = listener()
    one.socket.on('data', inPlace(first.take))
    two.socket.on('data', inPlace(second.take))
    for (const word of ['a', 'b']) {
      one.say(word)
      await first.heard(word)
      two.say(word)
      await second.heard(word)
    }
    // On Windows each socket has its own.
    const memories = new Set([...first.memories, ...(process.platform === 'win32' ? [] : second.memories)])
    assert.equal(memories.size, 1)
  })

  test('is given a copy in any other case', async () => {
    await using one = await pair()
    const chunks: Buffer[] = []
    const { take, heard } = listener()
    one.socket.on('data', (chunk) => {
      chunks.push(chunk)
      take(chunk)
    })
    for (const word of ['first', 'second', 'third']) {
      one.say(word)
      await heard(word)
    }
    assert.equal(Buffer.concat(chunks).toString(), 'firstsecondthird')
  })

  test('shares copies with others that listen', async () => {
    await using one = await pair()
    const chunks: Buffer[] = []
    const ours = listener()
    one.socket.on('data', inPlace(ours.take))
    const other = (chunk: Buffer): void => void chunks.push(chunk)
    one.socket.on('data', other)
    for (const word of ['first', 'second']) {
      one.say(word)
      await ours.heard(word)
    }
    one.socket.off('data', other)
    one.say('third')
    assert.equal(await ours.heard('third'), 'firstsecondthird')
    assert.equal(Buffer.concat(chunks).toString(), 'firstsecond')
  })

  test('may be replaced by another one, and gets nothing while the socket is paused', async () => {
    await using one = await pair()
    const ours = listener()
    const guest = listener()
    const kept = inPlace(ours.take)
    one.socket.on('data', kept)
    one.say('a')
    await ours.heard('a')
    one.socket.off('data', kept)
    one.socket.on('data', guest.take)
    one.say('b')
    await guest.heard('b')
    one.socket.off('data', guest.take)
    one.socket.on('data', kept)
    one.socket.pause()
    one.say('c')
    // Read by the paused stream itself, so that bytes wait in it when it flows again.
    one.socket.unshift('>')
    one.socket.resume()
    one.say('d')
    assert.equal(await ours.heard('d'), 'a>cd')
    assert.equal(await guest.heard('b'), 'b')
  })

  test('may have another function read in its place', async () => {
    await using one = await pair()
    const stood = listener()
    one.socket.on(
      'data',
      inPlace(() => assert.fail('called'), stood.take),
    )
    one.say('a')
    assert.equal(await stood.heard('a'), 'a')
  })
})
