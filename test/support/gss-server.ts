import { after } from 'node:test'
import { authentication, errorResponse, int32, message, type Peer } from './fake-postgres.ts'
import { type GssAcceptor, gssAcceptor } from './gss-acceptor.ts'
import { enterRealm, startKdc } from './kdc.ts'

export const GSS_REQUEST = 80877104
export const REFUSED = errorResponse({ C: '28000', M: 'no pg_hba.conf entry for you', R: 'ClientAuthentication' })
export const LET_IN = Buffer.concat([
  authentication(0),
  message('K', int32(4711), int32(99)),
  message('Z', Buffer.from('I')),
])

/** The realm of this test file; krb5 of this process uses it from here on. */
export const kdc = await startKdc()
const acceptors: GssAcceptor[] = []
after(async () => {
  for (const acceptor of acceptors) acceptor.close()
  await kdc[Symbol.asyncDispose]()
})
enterRealm(kdc)
for (const name of ['alice', 'postgres/localhost']) await kdc.addPrincipal(name)
/** alice's */
export const cache = `FILE:${kdc.path('cc')}`
await kdc.kinit('alice', cache, { keytab: await kdc.keytab('alice') })
const serverKeytab = await kdc.keytab('postgres/localhost')

export function acceptor(): GssAcceptor {
  const made = gssAcceptor(serverKeytab)
  acceptors.push(made)
  return made
}

export const framed = (bytes: Buffer): Buffer => Buffer.concat([int32(bytes.length), bytes])

export async function readFrame(peer: Peer): Promise<Buffer> {
  return peer.take((await peer.take(4)).readInt32BE())
}

/** Sets the encryption up as a server does, after it has granted it. */
export async function accept(peer: Peer): Promise<GssAcceptor> {
  const gss = acceptor()
  const { output } = await gss.step(await readFrame(peer))
  if (output !== undefined) peer.send(framed(output))
  return gss
}
