import { expect, test } from 'vitest'
import { isSecureUrl } from '../../src/oauth/loopback.ts'

test('a URL is secure where nobody on the way can read it: https, or http that stays on this machine', () => {
  const secure = ['https://keys.example.com/jwks', 'HTTPS://localhost', 'http://localhost:3000', 'http://127.0.0.1/a']
  for (const url of [...secure, 'http://[::1]:8080']) expect([url, isSecureUrl(url)]).toEqual([url, true])
  const none = ['http://keys.example.com/jwks', 'http://localhost.example.com', 'http://10.0.0.7', 'ftp://localhost']
  for (const text of [...none, 'ws://localhost', 'file:///etc/passwd', 'localhost', 'nonsense', '', 'https://']) {
    expect([text, isSecureUrl(text)]).toEqual([text, false])
  }
})
