def average(prices):
    return sum(prices) / len(prices)


def cheapest(items, seen=[]):
    for item in items:
        seen.append(item)
    return min(seen, key=lambda item: item["price"])
