import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseFields } from '../../../src/connections/fields.ts'
import { parseProxyUrl, showProxy } from '../../../src/drivers/network/proxy/address.ts'
import { proxyVariable } from '../../../src/drivers/network/proxy/environment.ts'
import { checkProxyOptions, chooseProxy, proxyFields } from '../../../src/drivers/network/proxy/options.ts'
import { Secret } from '../../../src/secret.ts'

describe('the URL of a proxy', () => {
  const shown = (url: string): string => {
    const address = parseProxyUrl(url)
    return typeof address === 'string' ? address : showProxy(address)
  }

  test('has a scheme, a host and a port, each with its default', () => {
    assert.equal(shown('http://proxy.example.com:3128'), 'http://proxy.example.com:3128')
    assert.equal(shown('http://proxy.example.com/'), 'http://proxy.example.com:80')
    assert.equal(shown('https://proxy.example.com'), 'https://proxy.example.com:443')
    assert.equal(shown('socks5://proxy'), 'socks5://proxy:1080')
    assert.equal(shown('socks5h://[::1]'), 'socks5h://[::1]:1080')
    assert.equal(shown('proxy.example.com:3128'), 'http://proxy.example.com:3128')
    assert.equal(shown('HTTP://[FE80::1]:3128'), 'http://[fe80::1]:3128')
  })

  test('may hold a login, percent-encoded', () => {
    const address = parseProxyUrl('http://me%40corp:p%3Aw%2F@proxy:3128')
    assert.ok(typeof address === 'object')
    assert.equal(address.user, 'me@corp')
    assert.equal(address.password?.reveal(), 'p:w/')
    assert.equal(showProxy(address), 'http://proxy:3128')
  })

  for (const [url, complaint] of [
    ['http://', /not a URL/],
    ['http://a b:1', /not a URL/],
    ['http://proxy:99999', /not a URL/],
    ['http://proxy:0', /port 0/],
    ['ftp://proxy:21', /unknown scheme; expected one of http, https, socks5, socks5h/],
    ['socks4://proxy:1080', /unknown scheme/],
    ['http://proxy:3128/path', /goes on behind the port/],
    ['http://proxy:3128?x=y', /goes on behind the port/],
    ['http://me:%E0%A4%A@proxy:3128', /not percent-encoded/],
    ['socks5://:1080', /not a URL|no host/],
  ] as const) {
    test(`is refused: ${url}`, () => assert.match(shown(url), complaint))
  }

  test('is not repeated when it is wrong', () => {
    for (const given of ['ftp://me:hunter2@proxy', new Secret('http://me:hunter2@proxy:0')]) {
      const { problems } = parseFields(proxyFields, { proxy: given })
      assert.equal(problems.length, 1)
      assert.equal(problems[0]?.path, 'extra.proxy')
      assert.doesNotMatch(JSON.stringify(problems), /hunter2|me:/)
    }
  })
})

describe('the environment', () => {
  const all = {
    http_proxy: 'a',
    HTTP_PROXY: 'b',
    https_proxy: 'c',
    HTTPS_PROXY: 'd',
    all_proxy: 'e',
    ALL_PROXY: 'f',
  }
  const without = (...names: readonly string[]): Record<string, string> =>
    Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name)))
  const value = (environment: Record<string, string>, purpose: 'http' | 'https' | 'database'): string | undefined =>
    proxyVariable(environment, purpose)?.value

  test('is read in curl’s order', () => {
    assert.equal(value(all, 'https'), 'c')
    assert.equal(value(without('https_proxy'), 'https'), 'd')
    assert.equal(value(without('https_proxy', 'HTTPS_PROXY'), 'https'), 'e')
    assert.equal(value({ ALL_PROXY: 'f', http_proxy: 'a' }, 'https'), 'f')
    assert.equal(value({ http_proxy: 'a' }, 'https'), undefined)
    assert.equal(value(all, 'http'), 'a')
    assert.equal(value({ ...all, https_proxy: '' }, 'https'), 'd')
  })

  test('is not read from HTTP_PROXY, which a request to a web server can set', () => {
    assert.equal(value({ HTTP_PROXY: 'b' }, 'http'), undefined)
    assert.equal(value({ HTTP_PROXY: 'b' }, 'database'), undefined)
  })

  test('has no variable for a database, which uses those of encrypted traffic, and http_proxy last', () => {
    assert.equal(value(all, 'database'), 'c')
    assert.equal(value(without('https_proxy', 'HTTPS_PROXY'), 'database'), 'e')
    assert.equal(value({ http_proxy: 'a' }, 'database'), 'a')
  })
})

describe('the options together', () => {
  const read = (extra: Readonly<Record<string, unknown>>) => {
    const { values, problems } = parseFields(proxyFields, extra, { strict: true })
    assert.deepEqual(problems, [])
    return values
  }
  const complaints = (extra: Readonly<Record<string, unknown>>, environment = {}, host?: string): string[] =>
    checkProxyOptions(read(extra), environment, host).map(({ path, message }) => `${path}: ${message}`)
  const auth = (extra: Readonly<Record<string, unknown>>): unknown => {
    const chosen = chooseProxy(read({ proxy: 'http://proxy:1', ...extra }), {}, 'database')
    return chosen !== undefined && 'auth' in chosen ? chosen.auth : chosen
  }

  test('mean a login by password if there is a user name, else none', () => {
    assert.equal(auth({}), 'none')
    assert.equal(auth({ proxy_user: 'me' }), 'basic')
    assert.equal(auth({ proxy: 'http://me@proxy:1' }), 'basic')
    assert.equal(auth({ proxy_auth: 'kerberos' }), 'kerberos')
    assert.equal(auth({ _proxy_auth_method: 'negotiate' }), 'kerberos')
  })

  for (const [what, extra, expected] of [
    [
      'a login without a proxy',
      { proxy_auth: 'kerberos', proxy_user: 'x' },
      ['proxy_auth: is of no use without proxy', 'proxy_user: is of no use without proxy'],
    ],
    [
      'a password without a user',
      { proxy: 'http://p', proxy_auth: 'basic' },
      ['proxy_user: proxy_auth=basic needs it, or a login in the URL'],
    ],
    [
      'two logins',
      { proxy: 'http://me:x@p', proxy_user: 'you', proxy_password: 'y' },
      ['proxy_user: is in the URL too; keep one of them', 'proxy_password: is in the URL too; keep one of them'],
    ],
    [
      'a login that is not used',
      { proxy: 'http://me@p', proxy_auth: 'kerberos' },
      ['proxy_auth: kerberos makes no use of the user name that is given'],
    ],
    ['a colon in the user name', { proxy: 'http://p', proxy_user: 'a:b' }, ['proxy_user: must not contain a colon']],
    [
      'a line break in the password',
      { proxy: 'http://me@p', proxy_password: 'a\r\nb' },
      ['proxy_password: must not contain control characters'],
    ],
    [
      'Kerberos for SOCKS',
      { proxy: 'socks5://p', proxy_auth: 'kerberos' },
      ['proxy_auth: kerberos is for http:// and https:// proxies'],
    ],
    [
      'a principal without Kerberos',
      { proxy: 'http://p', _proxy_kerberos_principal: 'me' },
      ['proxy_kerberos_principal: is of no use without proxy_auth=kerberos'],
    ],
    ['a CA without TLS', { proxy: 'http://p', proxy_ca: 'x.pem' }, ['proxy_ca: is of no use with an http:// proxy']],
    [
      'more than SOCKS can say',
      { proxy: 'socks5://p', proxy_user: 'x'.repeat(256) },
      ['proxy_user: must not be longer than 255 bytes for SOCKS5'],
    ],
  ] as const) {
    test(`are refused: ${what}`, () => {
      assert.deepEqual(
        complaints(extra),
        expected.map((line) => `extra.${line}`),
      )
    })
  }

  test('are refused with a Unix socket', () => {
    assert.equal(complaints({ proxy: 'http://p' }, {}, '/run/postgresql').length, 1)
    assert.deepEqual(complaints({ proxy: 'env' }, { https_proxy: 'http://p' }, '/run/postgresql'), [])
  })

  test('name a variable of the environment that is no URL, without its content', () => {
    const [problem = ''] = complaints({ proxy: 'env' }, { HTTPS_PROXY: 'ftp://me:hunter2@p' })
    assert.match(problem, /^extra\.proxy: the variable HTTPS_PROXY of the environment has an unknown scheme/)
    assert.doesNotMatch(problem, /hunter2/)
  })

  test('are accepted under proxy=env also if the environment names no proxy', () => {
    assert.deepEqual(complaints({ proxy: 'env', proxy_auth: 'kerberos' }), [])
  })
})
