"""The client that the tutorial teaches, as a reader would type it in.

Copied from its sections 3.2, 4.1, 5.1 and 5.2 with line breaks put back and nothing mended: the full URL is signed
where its prose says path, the nonce is sent and left out of the string, JSON is read from every line of the stream, and
any failure is printed and becomes None. Two things had to change. ``BASE_URL`` and the two keys replace literals; and
``stream_response``, whose middle the tutorial leaves out as "same code as above", has that code, and yields the pieces
that it also prints.
"""

import base64
import hashlib
import hmac
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import requests

BASE_URL = "https://aip.baidubce.com"


def generate_signature(secret_key, method, path, body, timestamp):
    # 构造待签名字符串
    string_to_sign = f"{method}\n{path}\n{body}\n{timestamp}"
    # 计算HMAC-SHA256
    hmac_code = hmac.new(secret_key.encode("utf-8"), string_to_sign.encode("utf-8"), hashlib.sha256).digest()
    # Base64编码
    signature = base64.b64encode(hmac_code).decode("utf-8")
    return signature  # noqa: RET504 - the tutorial's own words


def call_text_generation(api_key, secret_key, prompt):
    # 基础参数
    endpoint = f"{BASE_URL}/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
    method = "POST"
    timestamp = str(int(time.time()))
    nonce = str(random.randint(10000, 99999))
    # 请求体
    payload = {"messages": [{"role": "user", "content": prompt}], "temperature": 0.7, "max_tokens": 2048}
    body = json.dumps(payload)
    # 生成签名
    signature = generate_signature(secret_key, method, endpoint, body, timestamp)
    # 构造请求头
    headers = {
        "Content-Type": "application/json",
        "X-Bce-Signature": signature,
        "X-Bce-Timestamp": timestamp,
        "X-Bce-Nonce": nonce,
        "X-Bce-AccessKey": api_key,
    }
    try:
        response = requests.post(endpoint, headers=headers, data=body)
        result = response.json()
        return result.get("result", "")
    except Exception as e:  # noqa: BLE001 - the tutorial's own words
        print(f"调用失败: {e!s}")
        return None


def stream_response(api_key, secret_key, prompt):
    endpoint = f"{BASE_URL}/rpc/2.0/ai_custom/v1/text_generation/chat_completions_stream"
    # （签名生成代码同上）
    method = "POST"
    timestamp = str(int(time.time()))
    nonce = str(random.randint(10000, 99999))
    payload = {"messages": [{"role": "user", "content": prompt}], "temperature": 0.7, "max_tokens": 2048}
    body = json.dumps(payload)
    signature = generate_signature(secret_key, method, endpoint, body, timestamp)
    headers = {
        "Content-Type": "application/json",
        "X-Bce-Signature": signature,
        "X-Bce-Timestamp": timestamp,
        "X-Bce-Nonce": nonce,
        "X-Bce-AccessKey": api_key,
    }
    response = requests.post(endpoint, headers=headers, data=body, stream=True)
    for chunk in response.iter_lines(decode_unicode=True):
        if chunk:
            data = json.loads(chunk)
            delta = data.get("choices", [{}])[0].get("delta", {})
            print(delta.get("content", ""), end="", flush=True)
            yield delta.get("content", "")


def concurrent_call(api_key, secret_key, prompts, max_workers=5):
    results = []
    with ThreadPoolExecutor(max_workers=max_workers) as executor:
        futures = [executor.submit(call_text_generation, api_key, secret_key, p) for p in prompts]
        for future in futures:
            results.append(future.result())  # noqa: PERF401 - the tutorial's own words
    return results
